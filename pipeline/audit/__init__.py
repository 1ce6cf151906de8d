"""The gates, tested by faults: each is sent through the real pipeline, until something stops it.

workshop    the user's spans, sampled, in a folder of their own
scene       what a fault spoils: the newest span, its files, the configuration
catalog     all faults; data_faults, file_faults and model_faults hold them
sabotage    what model faults do inside the Trainer's run_fn
audit_runner the local runner, with a fault; ends a run once its outcome is known
worker      one warm process that runs the pipeline on fault after fault
observed    a run's result → which gates objected, and what they said
rehearsal   all of it, in order, on several workers
matrix      what is committed, compared and shown
"""
