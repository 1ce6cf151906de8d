resource "google_storage_bucket" "pipeline" {
  name     = coalesce(var.bucket, "${var.project}-headrace")
  location = var.region

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  # `terraform destroy` refuses while there is a file in it: models are in it.
  force_destroy = false

  versioning {
    enabled = true
  }

  # Versioning does what it would; with both, deleted temporary files would be paid for twice.
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = var.kept_days
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = 7
      matches_prefix = ["pipelines/dataflow/"]
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 1
    }
  }

  # Artifacts of jobs are not deleted by age: the champion is one of them, however old.

  depends_on = [google_project_service.needed]
}
