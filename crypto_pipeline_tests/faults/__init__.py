"""make faults: the pipeline under everything a host, a kill, a clock or a disk can do to it.

kinds      what a host can do, and the outcome that is right
bodies     what the kinds say: edits of an honest answer
host       the test upstream in a process of its own, told what to do
child      functions run in processes of their own, with their memory and time
alone      one endpoint under one kind: fetch and extract
together   one host under one kind while all the others are well: a whole collection
bounds     every host hostile at once: memory and seconds
kills      processes killed and interrupted at random moments
clocks     collections under a clock that is wrong, and in time zones
disks      a disk that is full at any byte
canaries   keys that come back in every way, looked for everywhere
report     the table of what was tried and what came of it
"""
