# What the tasks run as, vertex.service_account. It can do nothing but this.

resource "google_service_account" "pipeline" {
  account_id   = "headrace-pipeline"
  display_name = "Tasks of the Headrace pipeline"

  depends_on = [google_project_service.needed]
}

# Data, schema, artifacts, pushed models: one bucket, not the project's others.
resource "google_storage_bucket_iam_member" "pipeline" {
  bucket = google_storage_bucket.pipeline.name
  role   = "roles/storage.objectUser"
  member = google_service_account.pipeline.member
}

# Tasks are custom jobs that write to Vertex's metadata; it has no narrower resource than the project.
resource "google_project_iam_member" "pipeline" {
  project = var.project
  role    = "roles/aiplatform.user"
  member  = google_service_account.pipeline.member
}
