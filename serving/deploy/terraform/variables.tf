variable "project" {
  description = "Id of the project; it must exist and have billing."
  type        = string
}

variable "region" {
  description = "Where everything is: the bucket too, since reading across regions costs."
  type        = string
  default     = "europe-west4"
}

variable "bucket" {
  description = "Name of the bucket, unique in all of Google Cloud; default: PROJECT-headrace."
  type        = string
  default     = null
}

variable "dataflow" {
  description = "Whether Beam runs on Dataflow (beam.runner): its API, workers' account and roles."
  type        = bool
  default     = false
}

variable "github_repository" {
  description = "OWNER/NAME whose workflows may submit and promote."
  type        = string
  default     = null

  validation {
    condition     = var.github_repository == null || can(regex("^[^/]+/[^/]+$", var.github_repository))
    error_message = "It must be OWNER/NAME."
  }
}

variable "cloud_build" {
  description = "Whether Cloud Build may submit and promote."
  type        = bool
  default     = false
}

variable "kept_days" {
  description = "Days that a replaced or deleted file can still be brought back."
  type        = number
  default     = 30
}
