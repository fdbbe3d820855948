/// A job as lineage shows it.
package struct LineageJob: Sendable, Equatable {
  package var id: String
  package var kind: String
  package var model: String
  package var state: String
  package var reason: String
  package var createdAt: Timestamp
  package var finishedAt: Timestamp?

  package init(
    id: String, kind: String, model: String, state: String, reason: String, createdAt: Timestamp,
    finishedAt: Timestamp?
  ) {
    self.id = id
    self.kind = kind
    self.model = model
    self.state = state
    self.reason = reason
    self.createdAt = createdAt
    self.finishedAt = finishedAt
  }
}

/// A saved training set as lineage shows it.
package struct LineageDataset: Sendable, Equatable {
  package var id: String
  package var name: String
  /// Nil for features joined to a spine of the user's.
  package var model: String?
  package var features: [String]
  /// What it is known by; see `datasets list`.
  package var rowHash: String
  package var attributes: [LineageGraph.Attribute]

  package init(
    id: String, name: String, model: String?, features: [String], rowHash: String,
    attributes: [LineageGraph.Attribute]
  ) {
    self.id = id
    self.name = name
    self.model = model
    self.features = features
    self.rowHash = rowHash
    self.attributes = attributes
  }
}

/// One row of the prediction log as lineage shows it.
package struct LineagePrediction: Sendable, Equatable {
  package struct Read: Sendable, Equatable {
    package var feature: String
    package var status: String
    package var eventTimestamp: String?

    package init(feature: String, status: String, eventTimestamp: String?) {
      self.feature = feature
      self.status = status
      self.eventTimestamp = eventTimestamp
    }
  }

  package var requestID: String
  package var model: String
  package var version: Int64
  package var time: Timestamp
  package var entityKeys: String
  package var result: String
  package var reads: [Read]

  package init(
    requestID: String, model: String, version: Int64, time: Timestamp, entityKeys: String,
    result: String, reads: [Read]
  ) {
    self.requestID = requestID
    self.model = model
    self.version = version
    self.time = time
    self.entityKeys = entityKeys
    self.result = result
    self.reads = reads
  }
}

extension LineageBuilder {
  /// Draws a job; what it made is drawn with `add(_:ModelVersion…)`.
  package mutating func add(_ job: LineageJob, under drawn: Drawn) {
    var attributes: [LineageGraph.Attribute] = [
      .init("kind", job.kind), .init("state", job.state), .init("reason", job.reason),
      .init("created_at", job.createdAt.description),
    ]
    if let end = job.finishedAt { attributes.append(.init("finished_at", end.description)) }
    let id = "job:\(job.id)"
    let isNew = graph[id] == nil
    graph.add(LineageGraph.Node(id: id, kind: .job, name: job.id))
    graph.describe(id, attributes)
    // A job that published hangs on what it was trained from, as it was then.
    if isNew, let model = drawn.id(.model, job.model) {
      graph.connect(model, to: id, role: job.kind)
    }
  }

  /// Draws a model version, its training set and its job.
  ///
  /// - Parameter drawn: the definitions that it was trained under; nil where they are not known any more.
  package mutating func add(_ version: ModelVersion, under drawn: Drawn?) {
    let name = "\(version.model)@\(version.version)"
    let set = version.trainingSet
    let (id, dataset, job) = ("version:\(name)", "dataset:\(name)", "job:\(version.jobID)")
    graph.add(
      LineageGraph.Node(
        id: dataset, kind: .dataset, name: name, attributes: Self.facts(set, of: version.model)))
    graph.add(LineageGraph.Node(id: job, kind: .job, name: version.jobID))
    var facts: [LineageGraph.Attribute] = [
      .init("stage", version.stage.rawValue), .init("model", version.model),
      .init("trained_under_definitions", "\(version.definitionsVersion)"),
      .init("artifact", version.artifact.hex), .init("created_at", version.createdAt.description),
    ]
    facts += version.metrics.sorted { $0.key < $1.key }.map { .init($0.key, "\($0.value)") }
    graph.add(LineageGraph.Node(id: id, kind: .version, name: name, attributes: facts))
    graph.connect(dataset, to: job, role: "trained on")
    graph.connect(job, to: id, role: "published")
    guard let drawn else { return }
    for parent in trainingParents(of: version.model, in: drawn) {
      graph.connect(parent.id, to: dataset, role: parent.role)
    }
    if let model = drawn.id(.model, version.model) { graph.connect(model, to: job, role: "train") }
  }

  /// Draws a saved training set; that of a version is drawn already, and learns what it is saved as.
  ///
  /// - Parameter drawn: the definitions that it was built under; nil where they are not known any more.
  package mutating func add(_ dataset: LineageDataset, under drawn: Drawn?) {
    let facts: [LineageGraph.Attribute] = [
      .init("dataset", dataset.name), .init("row_hash", dataset.rowHash),
    ]
    if let id = graph.nodes.first(where: { $0["saved_as"] == dataset.id })?.id {
      return graph.describe(id, facts)
    }
    let id = "dataset:\(dataset.id)"
    graph.add(
      LineageGraph.Node(
        id: id, kind: .dataset, name: dataset.id, attributes: facts + dataset.attributes))
    guard let drawn else { return }
    let parents =
      dataset.model.map { trainingParents(of: $0, in: drawn) }
      ?? dataset.features.compactMap { FeatureName($0).flatMap { drawn.feature($0) } }
      .map { (id: $0, role: "feature") }
    for parent in parents { graph.connect(parent.id, to: id, role: parent.role) }
  }

  private static func facts(_ set: TrainingSetRecord, of model: String) -> [LineageGraph.Attribute]
  {
    var facts: [LineageGraph.Attribute] = [
      .init("model", model), .init("rows", "\(set.rows)"),
      .init("as_of", set.asOf.description), .init("hash", set.hash),
      .init("built_under_definitions", "\(set.definitionsVersion)"),
    ]
    if let saved = set.dataset { facts.append(.init("saved_as", saved)) }
    for range in set.origin?.events ?? [] {
      facts.append(.init("\(range.use)_from_\(range.source)", range.description))
    }
    return facts
  }

  /// Draws a prediction on its version and the features that it read.
  package mutating func add(_ prediction: LineagePrediction, under drawn: Drawn?) {
    let id = "prediction:\(prediction.requestID)"
    graph.add(
      LineageGraph.Node(
        id: id, kind: .prediction, name: prediction.requestID,
        attributes: [
          .init("time", prediction.time.description), .init("entity_keys", prediction.entityKeys),
          .init("result", prediction.result),
        ]))
    graph.connect("version:\(prediction.model)@\(prediction.version)", to: id, role: "predicted by")
    for read in prediction.reads {
      let own = "\(prediction.model).\(read.feature)"
      let feature =
        FeatureName(read.feature).flatMap { drawn?.feature($0) }
        ?? drawn?.id(.input, own) ?? drawn?.id(.derived, own)
      let when = read.eventTimestamp.map { " of \($0)" } ?? ""
      if let feature { graph.connect(feature, to: id, role: "\(read.status)\(when)") }
    }
  }
}
