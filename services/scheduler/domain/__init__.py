"""The rules of the scheduler: functions of values and `now`."""
