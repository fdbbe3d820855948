import Core
import Workers

extension Snapshot {
  /// What the definitions say about serving, by model.
  var servingRules: [String: ServingDefinition] {
    Dictionary(
      project.models.compactMap { model in model.serving.map { (model.name, $0) } }
    ) { first, _ in first }
  }
}

extension PlatformServices {
  /// Definitions → workers, until the task is cancelled.
  func followServingRules() async {
    for await snapshot in catalog.changes.changes() { workers.follow(snapshot.servingRules) }
  }
}
