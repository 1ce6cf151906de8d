"""A twin of Vertex AI Pipelines on this machine: it runs a compiled job as Vertex would.

What is emulated: the REST API that google-cloud-aiplatform talks to (jobs, schedules, models,
endpoints, logs; errors on demand); buckets, as folders; each task's own command in a process of its
own, with `ExecutorInput` filled in; drivers, importers, both resolvers over a metadata store that
lasts from rehearsal to rehearsal; conditions, caching, retries, machines that go away, the exit
handler, the states of tasks and job.

What is not: the image (tasks run in this Python environment), machines and their limits, accounts
and permissions, networks, quotas, prices. TensorFlow's own gs:// client knows one address only, so
tasks see gs://bucket/… as a folder: every such text in a task's command is replaced before it
starts, and replaced back in what it reports. What a task writes into files keeps the folder's path.
Waiting times before a retry are left out.
"""
