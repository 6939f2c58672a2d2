"""Local supervisor: every service as a process of its own, restarted when it crashes.

| module | subject |
|---|---|
| `records` | which process is ours: pid with start time |
| `state` | what runs, in `HOME/run/stack.json` |
| `stack` | which processes make a stack, with which addresses |
| `monitor` | starting, watching, restarting, stopping children |
| `control` | `up`, `down`, `status` as a client of all that |
"""
