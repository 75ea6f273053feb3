# Sets `bin` to the directory of PostgreSQL's programs, and `found` to the versions seen. Part of the scripts beside it.
#
# $1: the major version that it must be; empty = the one on PATH, else the newest.
# $places: patterns of the directories where distributions keep versions side by side.
find_postgres() {
  bin= newest= found=
  program=$(command -v postgres) && program=$(readlink -f "$program") || program=
  # The one on PATH is the administrator's choice. Asking it for its version takes longer than to look at its name.
  for folder in ${program:+"${program%/*}"} $places; do
    [ -x "$folder/postgres" ] && [ -x "$folder/initdb" ] || continue
    case $folder in
      */postgresql/[0-9]*/bin | */pgsql-[0-9]*/bin) version=${folder%/bin} version=${version##*[/-]} ;;
      *)
        version=$("$folder/postgres" -V) || continue
        version=${version#*) } version=${version%%[!0-9]*}
        ;;
    esac
    case " $found " in *" $version "*) ;; *) found="$found $version" ;; esac
    if [ -n "$1" ]; then
      [ "$1" != "$version" ] || { bin=$folder; return 0; }
    elif [ "$folder" = "${program%/*}" ]; then
      bin=$folder
      return 0
    elif [ -z "$newest" ] || [ "${version%%.*}" -gt "${newest%%.*}" ]; then
      newest=$version bin=$folder
    fi
  done
  [ -n "$bin" ]
}
