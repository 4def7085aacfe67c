#!/bin/sh
# Reads the run, says a few words, and ends when it is told to.
IFS= read -r run
case $run in
    *'"hang": true'* | *'"hang":true'*) wait_for_end=yes ;;
    *) wait_for_end=no ;;
esac
echo "shell: run $BRANCHLINE_RUN_ID" >&2
printf '{"type":"step","description":"Reading the run"}\n'
printf '{"type":"delta","text":"Hello from "}\n'
printf 'this line is for the log\n'
printf '{"type":"delta","text":"a shell."}\n'
if [ $wait_for_end = yes ]; then
    IFS= read -r command
    printf '{"type":"delta","text":" Stopped."}\n'
    exit 0
fi
printf '{"type":"usage","lines":%d}\n' 1
printf '{"type":"done"}\n'
