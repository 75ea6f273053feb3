# Started as a file, not with -m: that would import runpy, and all of `hub` with it. The siblings are a package under
# their own name here (`objectstore`), so their byte code is cached, which a script's is not.
import sys

sys.path.append(__file__.rpartition("/objectstore/")[0])
sys.exit(__import__("objectstore.server", fromlist=["main"]).main(sys.argv[1:]))
