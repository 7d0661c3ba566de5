"""The night shift: who does what is due, and what needs more than an isolate has?

Workers drain the queue: scheduled functions and crons through the same conductor and isolates as every other call, and
Node-style actions in processes of their own. Stands on `runtime`; never knows the control plane.
"""
