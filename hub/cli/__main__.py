"""`python -m hub.cli` is `modhub`."""

import sys

from hub.cli.application import main

sys.exit(main())
