# What GitHub's workflows act as. There is no key: a workflow of this repository trades the token that
# GitHub signs for it for one of Google's that lives an hour.

locals {
  github = var.github_repository == null ? 0 : 1
}

resource "google_iam_workload_identity_pool" "github" {
  count = local.github

  workload_identity_pool_id = "headrace-github"

  depends_on = [google_project_service.needed]
}

resource "google_iam_workload_identity_pool_provider" "github" {
  count = local.github

  workload_identity_pool_id          = google_iam_workload_identity_pool.github[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "github"

  attribute_mapping = {
    "google.subject"       = "assertion.sub"
    "attribute.repository" = "assertion.repository"
  }
  # Pull requests from elsewhere and other branches get no token.
  attribute_condition = "assertion.repository == '${var.github_repository}' && assertion.ref == 'refs/heads/main'"

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account_iam_member" "github" {
  count = local.github

  service_account_id = google_service_account.submit[0].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.github[0].name}/attribute.repository/${var.github_repository}"
}
