# What builds, submits and promotes: GitHub's workflows, or Cloud Build.

locals {
  submit = var.github_repository != null || var.cloud_build ? 1 : 0
}

resource "google_service_account" "submit" {
  count = local.submit

  account_id   = "headrace-submit"
  display_name = "Builds, submits and promotes"

  depends_on = [google_project_service.needed]
}

resource "google_artifact_registry_repository_iam_member" "submit" {
  count = local.submit

  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.submit[0].member
}

# The schema goes up before a job; labels are written where the models are.
resource "google_storage_bucket_iam_member" "submit" {
  count = local.submit

  bucket = google_storage_bucket.pipeline.name
  role   = "roles/storage.objectUser"
  member = google_service_account.submit[0].member
}

resource "google_project_iam_member" "submit" {
  for_each = local.submit == 0 ? [] : toset(concat([
    "roles/aiplatform.user", # jobs and schedules
    "roles/logging.viewer",  # headrace vertex logs
    ],
    var.cloud_build ? ["roles/logging.logWriter"] : [], # what a build prints
  ))

  project = var.project
  role    = each.value
  member  = google_service_account.submit[0].member
}

# A job runs as the pipeline's account: who submits must be allowed to say so, for that one alone.
resource "google_service_account_iam_member" "submit_as_pipeline" {
  count = local.submit

  service_account_id = google_service_account.pipeline.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.submit[0].member
}
