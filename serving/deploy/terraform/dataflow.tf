# Only with beam.runner = "dataflow": who starts its jobs, and what its workers run as.

resource "google_service_account" "worker" {
  count = var.dataflow ? 1 : 0

  account_id   = "headrace-worker"
  display_name = "Dataflow workers of the Headrace pipeline"

  depends_on = [google_project_service.needed]
}

# A worker reports to its job.
resource "google_project_iam_member" "worker" {
  count = var.dataflow ? 1 : 0

  project = var.project
  role    = "roles/dataflow.worker"
  member  = google_service_account.worker[0].member
}

resource "google_storage_bucket_iam_member" "worker" {
  count = var.dataflow ? 1 : 0

  bucket = google_storage_bucket.pipeline.name
  role   = "roles/storage.objectUser"
  member = google_service_account.worker[0].member
}

# Workers pull their own image.
resource "google_artifact_registry_repository_iam_member" "worker" {
  count = var.dataflow ? 1 : 0

  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.worker[0].member
}

# A task creates jobs and looks at them …
resource "google_project_iam_member" "pipeline_dataflow" {
  count = var.dataflow ? 1 : 0

  project = var.project
  role    = "roles/dataflow.developer"
  member  = google_service_account.pipeline.member
}

# … whose workers run as that account and as no other.
resource "google_service_account_iam_member" "pipeline_as_worker" {
  count = var.dataflow ? 1 : 0

  service_account_id = google_service_account.worker[0].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.pipeline.member
}
