import Core

/// Tags that the platform answers with, so that a client of MLflow sees what MLflow has no field for; nobody sets them.
extension RegisteredVersion {
  package var allTags: [String: String] { tags.merging(ownTags) { $1 } }

  private var ownTags: [String: String] {
    var own = ["stage": stage.rawValue]
    if let trained {
      own["artifact"] = trained.artifact.hex
      own["baseline"] = trained.baseline.hex
      own["format"] = trained.format
      own["job_id"] = trained.jobID
      own["definitions_version"] = String(trained.definitionsVersion)
      own["training_rows"] = String(trained.trainingSet.rows)
      own["training_as_of"] = trained.trainingSet.asOf.description
      own["training_hash"] = trained.trainingSet.hash
      own["training_dataset"] = trained.trainingSet.dataset
      for (metric, value) in trained.metrics { own["metric.\(metric)"] = String(value) }
    }
    return Dictionary(
      own.map { (RegistryNames.ownTags + $0.key, $0.value) }, uniquingKeysWith: { $1 })
  }
}

extension RegisteredModel {
  package var allTags: [String: String] {
    tags.merging([RegistryNames.ownTags + "defined": isDefined ? "true" : "false"]) { $1 }
  }
}
