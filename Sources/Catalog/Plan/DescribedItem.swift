import Core

/// A definition as named texts, the form that a plan compares and prints.
struct DescribedItem {
  struct Field {
    var name: String
    var text: String
  }

  var name: String
  var fields: [Field] = []

  private mutating func add(_ field: String, _ text: String?) {
    if let text { fields.append(Field(name: field, text: text)) }
  }

  init(_ project: ProjectDefinition) { name = project.name }

  init(_ entity: EntityDefinition) {
    name = entity.name
    add("key", entity.key.joined(separator: ", "))
  }

  init(_ source: SourceDefinition) {
    name = source.name
    add("event_time", source.eventTime)
    add("zone", source.zone)
    add("event_id", source.eventID)
    for column in source.columns { add("column \(column.name)", column.type.rawValue) }
    for (column, checks) in Dictionary(grouping: source.checks, by: \.column)
      .sorted(by: { $0.key < $1.key })
    {
      add("check \(column)", checks.map(\.text).joined(separator: "; "))
    }
    add("transform", source.transform?.description)
    add("transform requirements", source.transform?.requirements)
    add(
      "kafka",
      source.kafka.map { "topic \($0.topic)\($0.push == .produce ? ", pushes are produced" : "")" })
    add("retention", source.retention?.description)
  }

  init(_ view: ViewDefinition) {
    name = view.name
    add("entity", view.entity)
    add("source", view.source)
  }

  init(_ feature: FeatureDefinition, of view: String) {
    name = "\(view).\(feature.name)"
    switch feature.kind {
    case .latest(let column, let ttl):
      add("latest", column)
      add("ttl", ttl?.description)
    case .window(let window):
      add(window.function.rawValue, window.column ?? "*")
      add("window", window.length.description)
      add("where", window.filter?.text)
      add("q", window.parameter.map { "\($0)" })
      add("k", window.limit.map { "\($0)" })
      let isExact = window.resolution == WindowDefinition.exact
      add("resolution", isExact ? "exact" : window.resolution.description)
    case .derived(let expression): add("derived", expression.text)
    }
    add("type", feature.type.rawValue)
  }

  init(_ model: ModelDefinition) {
    name = model.name
    add("features", model.features.map(\.name).joined(separator: ", "))
    for input in model.inputs { add("input \(input.name)", input.type.rawValue) }
    for feature in model.features {
      if case .derived(let expression) = feature.origin {
        add("derived \(feature.name)", expression.text)
      }
    }
    add("serving", model.serving?.text)
    add("missing", model.missing.default.text)
    for (feature, rule) in model.missing.perFeature.sorted(by: { $0.key < $1.key }) {
      add("missing \(feature)", rule.text)
    }
    add("spine", model.spine.map { "\($0.source) at \($0.time)" })
    add("label", model.label?.text)
    add("train", model.train?.run.description)
    add("data", model.train?.data?.description)
    add("schedule", model.train.flatMap { train in train.schedule.map { "\($0) \(train.zone)" } })
    add("metric", model.train?.metric.rawValue)
    add("holdout", model.train.map { "\($0.holdout)" })
    add("parameters", model.train?.parameters)
    add("drift", model.drift?.text)
    add("rollout", model.rollout?.text)
  }
}

extension ProjectDefinition {
  var describedFeatures: [DescribedItem] {
    views.flatMap { view in view.features.map { DescribedItem($0, of: view.name) } }
  }
}

extension ColumnCheck {
  fileprivate var text: String {
    let rules: [String?] = [
      required ? "required" : nil, min.map { "min \($0)" }, max.map { "max \($0)" },
      allowed.map { "in \($0.joined(separator: " "))" }, regex.map { "regex \($0)" },
      unique.map { "unique within \($0)" }, onFail == .quarantine ? nil : onFail.rawValue,
    ]
    return rules.compactMap { $0 }.joined(separator: ", ")
  }
}

extension MissingPolicy.Rule {
  fileprivate var text: String {
    switch self {
    case .error: "error"
    case .null: "null"
    case .value(let value): "\(value)"
    }
  }
}

extension LabelDefinition {
  fileprivate var text: String {
    "\(value.text) of \(source)\(join.map { " joined by \($0)" } ?? "") after \(delay)"
  }
}

extension RolloutDefinition {
  fileprivate var text: String {
    let limits: [String?] = [
      "\(after.requests) requests", after.errorRate.map { "error rate \($0)" },
      after.p95Ratio.map { "p95 ratio \($0)" }, after.drift.map { "drift \($0)" },
      after.metricLoss.map { "metric loss \($0)" },
    ]
    return "canary \(canary) until \(limits.compactMap { $0 }.joined(separator: ", "))"
  }
}

extension ServingDefinition {
  fileprivate var text: String {
    let most = workers.maximum.map { "\($0)" } ?? "as many as cores"
    return
      "batches of \(batch.rows) rows within \(batch.wait), \(workers.minimum) to \(most) workers for waits of "
      + "\(workers.queueWait), \(queue) calls waiting"
  }
}

extension DriftDefinition {
  fileprivate var text: String {
    let trigger = retrainAbove.map { "retrain above \($0), cool down \(coolDown)" } ?? "watch only"
    return "window \(window), \(trigger), from \(minimumRows) rows"
  }
}
