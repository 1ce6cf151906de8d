output "configuration" {
  description = "What goes into headrace.toml: terraform output -raw configuration"
  value = join("\n", concat(
    [
      "[vertex]",
      "project = \"${var.project}\"",
      "region = \"${var.region}\"",
      "root = \"gs://${google_storage_bucket.pipeline.name}/pipelines\"",
      "data_path = \"gs://${google_storage_bucket.pipeline.name}/data\"",
      "serving_path = \"gs://${google_storage_bucket.pipeline.name}/serving\"",
      "image = \"${local.images}/pipeline:1\"",
      "service_account = \"${google_service_account.pipeline.email}\"",
      "",
    ],
    var.dataflow ? [
      "[vertex.dataflow]",
      "image = \"${local.images}/worker:1\"",
      "service_account = \"${google_service_account.worker[0].email}\"",
      "",
    ] : [],
  ))
}

output "github_variables" {
  description = "Variables of the GitHub repository that its workflows read."
  value = local.github == 0 ? null : {
    GCP_WORKLOAD_IDENTITY_PROVIDER = google_iam_workload_identity_pool_provider.github[0].name
    GCP_SERVICE_ACCOUNT            = google_service_account.submit[0].email
    GCP_IMAGES                     = local.images
  }
}

locals {
  images = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
}
