locals {
  services = concat(
    [
      "aiplatform.googleapis.com",       # pipelines, metadata, models, endpoints
      "artifactregistry.googleapis.com", # the image
      "compute.googleapis.com",          # the machines of tasks and workers
      "iam.googleapis.com",
      "logging.googleapis.com",
      "storage.googleapis.com",
    ],
    var.dataflow ? ["dataflow.googleapis.com"] : [],
    var.cloud_build ? ["cloudbuild.googleapis.com"] : [],
    # Short-lived credentials for GitHub's workflows instead of a key.
    var.github_repository == null ? [] : ["iamcredentials.googleapis.com", "sts.googleapis.com"],
  )
}

resource "google_project_service" "needed" {
  for_each = toset(local.services)

  service = each.value
  # Something else in the project may use it.
  disable_on_destroy = false
}
