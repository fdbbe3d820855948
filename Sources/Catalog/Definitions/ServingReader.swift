import Core

/// Reads `serving` of a model: how its calls wait and how many workers answer them.
struct ServingReader {
  private static let longestWait = Span.seconds(1)

  func read(_ reader: NodeReader) -> ServingDefinition? {
    guard
      let mapping = reader.mapping(of: reader.what, known: ["batch", "workers", "queue"])
    else { return nil }
    var serving = ServingDefinition()
    if let batch = mapping["batch"].flatMap(batch) { serving.batch = batch }
    if let workers = mapping["workers"].flatMap(workers) { serving.workers = workers }
    if let queue = mapping["queue"]?.integer(1...100_000) { serving.queue = Int(queue.value) }
    return serving
  }

  private func batch(_ reader: NodeReader) -> ServingDefinition.Batch? {
    guard let mapping = reader.mapping(of: reader.what, known: ["rows", "wait"]) else { return nil }
    var batch = ServingDefinition.Batch()
    if let rows = mapping["rows"]?.integer(1...10_000) { batch.rows = Int(rows.value) }
    if let wait = mapping["wait"]?.span(orZero: true) {
      if wait.value > Self.longestWait {
        mapping.report(
          "'wait' of \(mapping.noun) is \(wait.value); it must be at most \(Self.longestWait)",
          at: wait.place)
      }
      batch.wait = wait.value
    }
    return batch
  }

  private func workers(_ reader: NodeReader) -> ServingDefinition.Workers? {
    guard let mapping = reader.mapping(of: reader.what, known: ["min", "max", "queue_wait"]) else {
      return nil
    }
    var workers = ServingDefinition.Workers()
    if let least = mapping["min"]?.integer(1...1_024) { workers.minimum = Int(least.value) }
    if let most = mapping["max"]?.integer(1...1_024) {
      if most.value < workers.minimum {
        mapping.report(
          "'max' of \(mapping.noun) is \(most.value), below its 'min' of \(workers.minimum)",
          at: most.place)
      }
      workers.maximum = Int(most.value)
    }
    if let wait = mapping["queue_wait"]?.span() { workers.queueWait = wait.value }
    return workers
  }
}
