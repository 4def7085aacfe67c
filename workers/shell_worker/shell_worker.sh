#!/bin/sh
# Tells how the machine of its pool is. The run is the first line of the input; each line of the output
# is an event: sed makes one of each line of a program.
read -r run
events() { sed 's/\\/\\\\/g; s/"/\\"/g; s/\t/\\t/g; s/.*/{"type":"delta","ref":"1","text":"&\\n"}/'; }
printf '{"type":"step","description":"Looking at the machine"}\n'
printf '{"type":"start","ref":"1","role":"tool","message_type":"console"}\n'
{ uname -srm; uptime; df -h /; } 2>&1 | events
printf '{"type":"end","ref":"1"}\n{"type":"delta","text":"That is how it is."}\n{"type":"done"}\n'
