# Becomes the server of the cluster in $1, on port $2. What follows goes to the server.
set -eu
data=$1 port=$2
shift 2

{ read -r wanted <"$data/PG_VERSION"; } 2>/dev/null || {
  echo "$data holds no PostgreSQL cluster: it has no PG_VERSION" >&2
  exit 1
}
find_postgres "$wanted" || {
  echo "the data is of PostgreSQL $wanted, which is not installed here (found:${found:- none})." \
    "Install it (on Debian: apt-get install postgresql-$wanted), or bring the data to another version with pg_upgrade" >&2
  exit 1
}

# The lock file of a server that was killed, here or where the data came from. Its process id may be anybody's by now,
# and the server would not start. Ours is the one that it does not mind; the rest of the file stays, by which it finds
# out whether processes of that server still use its shared memory.
lock=$data/postmaster.pid
if [ -s "$lock" ]; then
  { echo $$; tail -n +2 "$lock"; } >"$lock.new"
  mv "$lock.new" "$lock"
else
  rm -f "$lock"
fi

# On the command line is what must hold whatever a tenant sets by ALTER SYSTEM: where it listens, that a commit is on
# disk, that nothing of it lies outside of its directory (sockets, /dev/shm), and that the hub can read its log.
exec "$bin/postgres" -D "$data" \
  -c "port=$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
  -c fsync=on -c dynamic_shared_memory_type=mmap \
  -c logging_collector=off -c log_destination=stderr -c log_min_messages=warning -c lc_messages=C "$@"
