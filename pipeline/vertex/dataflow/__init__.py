"""A dry run of Dataflow: the job of each Beam component, built and checked here, and not sent."""
