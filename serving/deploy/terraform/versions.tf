terraform {
  required_version = ">= 1.5"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.50, < 8.0"
    }
  }

  # State holds no secret, but who changes it changes the project: keep it in a bucket of its own,
  # `terraform init -backend-config=bucket=NAME`, once there is more than one person.
  # backend "gcs" {}
}

provider "google" {
  project = var.project
  region  = var.region
}
