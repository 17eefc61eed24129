# Waits for the end of its standard input, which a process holds until it ends, however it ends; then kills what that
# process has started and removes its folder, the argument. What it started is told by the folder in its environment.
# Called by orphans.mjs.
trap '' HUP INT TERM
cat >/dev/null

orphans() {
  grep -lsF "$1" /proc/[0-9]*/environ | cut -d/ -f3
  # redis-server writes its title over its environment, but works where its files are.
  for process in /proc/[0-9]*; do
    read -r name <"$process/comm" && [ "$name" = redis-server ] || continue
    case $(readlink "$process/cwd") in
      "$1"/*) echo "${process#/proc/}" ;;
    esac
  done 2>/dev/null
}

while left=$(orphans "$1") && [ -n "$left" ]; do
  kill -9 $left 2>/dev/null
  sleep 0.02
done
rm -rf "$1"
