resource "google_artifact_registry_repository" "images" {
  repository_id = "headrace"
  location      = var.region
  format        = "DOCKER"
  description   = "Images of the pipeline's tasks and of Dataflow's workers"

  docker_config {
    # A job names a tag; what it ran must not become something else later.
    immutable_tags = true
  }

  cleanup_policies {
    id     = "keep-newest"
    action = "KEEP"
    most_recent_versions {
      keep_count = 10
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      older_than = "7776000s" # 90 days
    }
  }

  depends_on = [google_project_service.needed]
}
