#!/bin/sh
# The run is the first line of the input; each line of the output is an event.
read -r run
printf '{"type":"delta","text":"Hello from a shell."}\n'
printf '{"type":"done"}\n'
