"""The rules of the scheduler: pure functions of values and `now`."""
