import Core

/// Which features of which entity keys are wanted now.
package struct HydrateRequest: Sendable {
  package var selection: HydrateSelection
  package var rows: [RequestRow]

  /// Stored features, in this order. Rows name the key columns.
  package init(features: [FeatureName], rows: [RequestRow]) {
    selection = .features(features)
    self.rows = rows
  }

  package init(selection: HydrateSelection, rows: [RequestRow]) {
    self.selection = selection
    self.rows = rows
  }

  /// A model's input vector. Rows name key columns and inputs; `inputs` are those that the model declares, `entities`
  /// those whose keys a row may name although this vector does not read them.
  package init(
    vector: [ModelFeature], inputs: [ColumnDefinition], entities: [String] = [],
    rows: [RequestRow]
  ) {
    selection = .vector(vector, inputs: inputs, entities: entities)
    self.rows = rows
  }
}

/// What is asked for, apart from the rows; the key under which a prepared plan is found again.
package enum HydrateSelection: Sendable, Hashable {
  case features([FeatureName])
  case vector([ModelFeature], inputs: [ColumnDefinition], entities: [String])

  package static func == (a: HydrateSelection, b: HydrateSelection) -> Bool {
    switch (a, b) {
    case (.features(let a), .features(let b)): a == b
    case (.vector(let a, let aInputs, let aEntities), .vector(let b, let bInputs, let bEntities)):
      a == b && aInputs == bInputs && aEntities == bEntities
    default: false
    }
  }

  /// The ends of the list tell almost all lists apart, and hashing them all would cost more than the read.
  package func hash(into hasher: inout Hasher) {
    switch self {
    case .features(let features):
      hasher.combine(features.count)
      hasher.combine(features.first)
      hasher.combine(features.last)
    case .vector(let features, _, _):
      hasher.combine(features.count)
      hasher.combine(features.first?.name)
      hasher.combine(features.last?.name)
    }
  }
}

/// The features of each row of a request, as of one instant.
package struct HydratedRows: Sendable {
  /// What each position of a vector is.
  package var features: [ColumnDefinition]
  /// One for each row, in the request's order.
  package var vectors: [FeatureVector]
  /// The instant T that the values are of.
  package var time: Timestamp

  package init(features: [ColumnDefinition], vectors: [FeatureVector], time: Timestamp) {
    self.features = features
    self.vectors = vectors
    self.time = time
  }

  /// The values as columns of the features' types, one row for each vector.
  package var columns: ColumnBatch {
    ColumnBatch(
      columns: features.enumerated().map { index, feature in
        Column(name: feature.name, type: feature.type, vectors.map { $0.values[index].value })
      }, count: vectors.count)
  }
}
