import Core

/// Reads `models:`.
struct ModelSection {
  private static let keys = [
    "features", "inputs", "derived", "missing", "spine", "label", "train", "drift",
    "rollout",
  ]

  let entities: [EntityDefinition]
  let sources: [SourceScope]
  let views: [ViewDefinition]
  /// By `view.feature`, nil for a feature in error.
  let featureTypes: [String: ColumnType?]
  let diagnostics: Diagnostics
  let files: ProjectFiles

  func read(_ section: MappingReader?) -> [ModelDefinition] {
    (section?.named("model") ?? []).compactMap { name, value in
      guard let mapping = value.mapping(of: value.what, known: nil, at: name.place) else {
        return nil
      }
      mapping.refuseKeys(except: Self.keys + ["serving"])
      var model = model(name.value, mapping)
      model.serving = mapping["serving"].flatMap(ServingReader().read)
      return model
    }
  }

  private func model(_ name: String, _ mapping: MappingReader) -> ModelDefinition {
    let vector = ModelVectorReader(
      featureTypes: featureTypes, listLengths: listLengths, diagnostics: diagnostics
    ).read(mapping)
    let training = TrainingReader(
      sources: sources, diagnostics: diagnostics, files: files)
    let spine = mapping["spine"].flatMap(training.spine)
    let label = mapping["label"].flatMap { training.label($0, spine: spine) }
    let train = mapping["train"].flatMap(training.train)
    if mapping["label"] != nil || mapping["train"] != nil, mapping["spine"] == nil {
      mapping.report(
        "\(mapping.noun) needs 'spine': the source and time that training rows are made of")
    }
    if mapping["train"] != nil, mapping["label"] == nil {
      mapping.report("\(mapping.noun) needs 'label': what it is trained to predict")
    }
    let used = entitiesUsed(by: vector.features)
    checkEntities(used, of: mapping)
    if let spine, let place = mapping["spine"]?.place {
      checkSpine(spine, entities: used, inputs: vector.inputs, of: mapping, at: place)
    }
    let drift = mapping["drift"].flatMap(drift)
    let rollout = mapping["rollout"].flatMap {
      RolloutSection(hasDrift: mapping["drift"] != nil, hasLabel: mapping["label"] != nil, train)
        .read($0)
    }
    return ModelDefinition(
      name: name, features: vector.features, inputs: vector.inputs,
      missing: missing(mapping, vector.features), spine: spine, label: label, train: train,
      drift: drift, entities: used, rollout: rollout)
  }

  /// The `k` of every `last_k` feature.
  private var listLengths: [String: Int] {
    var lengths: [String: Int] = [:]
    for view in views {
      for feature in view.features {
        guard case .window(let window) = feature.kind, window.function == .lastK else { continue }
        lengths["\(view.name).\(feature.name)"] = window.limit
      }
    }
    return lengths
  }

  /// Entities of all the views that the features are made from, in order of first use.
  private func entitiesUsed(by features: [ModelFeature]) -> [String] {
    var found: [String] = []
    var pending = features.compactMap { feature -> FeatureName? in
      if case .view(let name) = feature.origin { name } else { nil }
    }
    var seen = Set(pending)
    while !pending.isEmpty {
      let name = pending.removeFirst()
      guard let view = views.first(where: { $0.name == name.view }) else { continue }
      if !found.contains(view.entity) { found.append(view.entity) }
      guard case .derived(let expression)? = view.feature(name.feature)?.kind else { continue }
      for used in expression.names {
        guard
          let next = FeatureName(used.contains(".") ? used : "\(view.name).\(used)"),
          seen.insert(next).inserted
        else { continue }
        pending.append(next)
      }
    }
    return found
  }

  /// A key column of one name is one value of the request, so it must have one type.
  private func checkEntities(_ used: [String], of mapping: MappingReader) {
    var known: [String: (type: ColumnType, view: String)] = [:]
    for view in views where used.contains(view.entity) {
      guard let entity = entities.first(where: { $0.name == view.entity }),
        let source = sources.first(where: { $0.definition.name == view.source })
      else { continue }
      for column in entity.key {
        guard let type = source.columnTypes[column] ?? nil else { continue }
        if let other = known[column], other.type != type {
          mapping.report(
            "\(mapping.noun) reads views whose key column '\(column)' differs in type: \(other.type.rawValue) in view '\(other.view)', \(type.rawValue) in view '\(view.name)'",
            at: mapping.place(of: "features"))
        }
        known[column] = known[column] ?? (type, view.name)
      }
    }
  }

  /// Training rows must bring what a request brings: the key columns and the inputs.
  private func checkSpine(
    _ spine: SpineDefinition, entities used: [String], inputs: [ColumnDefinition],
    of mapping: MappingReader, at place: Place
  ) {
    guard let source = sources.first(where: { $0.definition.name == spine.source }) else { return }
    func demand(_ column: String, _ why: String) -> ColumnType? {
      guard let type = source.columnTypes[column] else {
        diagnostics.report(
          "the spine source '\(spine.source)' of \(mapping.noun) has no column '\(column)', which is \(why)"
            + suggestion(for: column, among: source.columnTypes.keys), at: place)
        return nil
      }
      return type
    }
    for name in used {
      for column in entities.first(where: { $0.name == name })?.key ?? [] {
        _ = demand(column, "in the key of entity '\(name)'")
      }
    }
    for input in inputs {
      guard let type = demand(input.name, "an input of the model") else { continue }
      if type != input.type, !(type == .int64 && input.type == .double) {
        diagnostics.report(
          "the input '\(input.name)' of \(mapping.noun) is \(input.type.rawValue), but the column of the spine source '\(spine.source)' is \(type.rawValue)",
          at: place)
      }
    }
  }

  private func missing(_ mapping: MappingReader, _ features: [ModelFeature]) -> MissingPolicy {
    var policy = MissingPolicy()
    guard let section = mapping["missing"]?.mapping(of: "missing of \(mapping.noun)", known: nil)
    else { return policy }
    for entry in section.entries {
      let name = entry.key.text
      let value = NodeReader(entry.value, "'\(name)' of \(section.noun)", diagnostics)
      if name != "default", !features.contains(where: { $0.name == name }) {
        section.report(
          "'\(name)' in \(section.noun) is not in the model's features"
            + suggestion(for: name, among: ["default"] + features.map(\.name)),
          at: entry.key.place)
      }
      guard let rule = rule(value) else { continue }
      if name == "default" { policy.default = rule } else { policy.perFeature[name] = rule }
    }
    return policy
  }

  private func rule(_ reader: NodeReader) -> MissingPolicy.Rule? {
    if case .scalar(let scalar) = reader.node {
      if scalar.text == "null" || scalar.text == "~" { return .null }
      if scalar.text == "error" { return .error }
      if let number = scalar.number { return .value(number) }
      reader.report("\(reader.what) is '\(scalar.text)'; it must be null, error or a number")
      return nil
    }
    reader.report("\(reader.what) must be null, error or a number, not \(reader.node.kindName)")
    return nil
  }

  private func drift(_ reader: NodeReader) -> DriftDefinition? {
    guard
      let mapping = reader.mapping(
        of: reader.what, known: ["window", "retrain_above", "cool_down", "minimum_rows"])
    else { return nil }
    let threshold = mapping["retrain_above"]?.number()
    if let threshold, threshold.value <= 0 {
      mapping.report("'retrain_above' of \(mapping.noun) must be above 0", at: threshold.place)
    }
    guard
      let window = mapping.required("window", "the stretch of predictions that is judged, like 1h")?
        .span()
    else { return nil }
    let defaults = DriftDefinition(window: window.value)
    return DriftDefinition(
      window: window.value, retrainAbove: threshold?.value,
      coolDown: mapping["cool_down"]?.span()?.value ?? defaults.coolDown,
      minimumRows: mapping["minimum_rows"]?.integer(1...1_000_000_000).map { Int($0.value) }
        ?? defaults.minimumRows)
  }
}
