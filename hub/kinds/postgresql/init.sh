# Makes a cluster in the empty directory $1. What follows goes to initdb.
set -eu
umask 077
data=$1
shift

find_postgres '' || {
  echo 'PostgreSQL is not installed here: no postgres on PATH, nor below /usr/lib/postgresql; on Debian: apt-get install postgresql' >&2
  exit 1
}

# In no argument and in no file outside of the data: it goes where the data goes, and is deleted with it.
password=$(od -An -v -N 24 -t x1 /dev/urandom | tr -d ' \n')

# Loopback is open to every user of the machine, and a superuser of the database runs programs as the server's user.
# Order and equality of text must not depend on the C library, since data moves between machines: collation C.
printf '%s\n' "$password" | "$bin/initdb" --pgdata="$data" --username=postgres --pwfile=/dev/stdin \
  --auth=scram-sha-256 --encoding=UTF8 --locale=C --lc-ctype=C.UTF-8 --data-checksums "$@"

printf '127.0.0.1:*:*:postgres:%s\n' "$password" >"$data/pgpass"
sync "$data/pgpass"
