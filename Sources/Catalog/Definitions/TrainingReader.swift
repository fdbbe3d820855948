import Core
import Foundation

/// Reads how a model is trained: `spine`, `label` and `train`.
struct TrainingReader {
  let sources: [SourceScope]
  let diagnostics: Diagnostics
  let files: ProjectFiles

  func spine(_ reader: NodeReader) -> SpineDefinition? {
    guard let mapping = reader.mapping(of: reader.what, known: ["source", "time"]) else {
      return nil
    }
    let source = source(mapping)
    let time = mapping.required("time", "when a training row happened")?.text("the name of a field")
    guard let source, let time else { return nil }
    switch source.fieldType(time.value) {
    case .none:
      diagnostics.report(
        "'time' of \(mapping.noun): source '\(source.definition.name)' has no field '\(time.value)'"
          + suggestion(for: time.value, among: source.fields), at: time.place)
    case .some(.some(let type)) where type != .timestamp:
      diagnostics.report(
        "'time' of \(mapping.noun): '\(time.value)' is \(type.rawValue); it must be a timestamp",
        at: time.place)
    case .some: break
    }
    return SpineDefinition(source: source.definition.name, time: time.value)
  }

  func label(_ reader: NodeReader, spine: SpineDefinition?) -> LabelDefinition? {
    guard
      let mapping = reader.mapping(of: reader.what, known: ["source", "join", "value", "delay"])
    else { return nil }
    let source = source(mapping)
    let join = mapping["join"]?.text("the name of a field")
    let value = mapping.required("value", "an expression over the source's columns")?.expression()
    let delay = mapping.required(
      "delay", "how long after the row's time the label is known, like 12h")?
      .span(orZero: true)
    guard let source else { return nil }
    if let value { check(value, in: source) }
    if let spine { check(join, spine, source, mapping) }
    guard let value, let delay else { return nil }
    return LabelDefinition(
      source: source.definition.name, join: join?.value, value: value.expression, delay: delay.value
    )
  }

  private func source(_ mapping: MappingReader) -> SourceScope? {
    let name = mapping.required("source")?
      .reference("source", among: sources.map(\.definition.name))
    return name.flatMap { name in sources.first { $0.definition.name == name.value } }
  }

  private func check(_ value: WrittenExpression, in source: SourceScope) {
    let type = value.checkedType(
      given: { source.columnTypes[$0] }, among: { Array(source.columnTypes.keys) },
      noun: "a column of source '\(source.definition.name)'",
      diagnostics)
    if let type, type != .bool, !type.isNumeric {
      diagnostics.report(
        "\(value.what) is \(type.rawValue); a label must be bool or a number",
        at: value.scalar.place)
    }
  }

  private func check(
    _ join: Located<String>?, _ spine: SpineDefinition, _ label: SourceScope,
    _ mapping: MappingReader
  ) {
    guard let join else {
      if spine.source != label.definition.name {
        mapping.report(
          "\(mapping.noun) needs 'join': the field that source '\(label.definition.name)' and the spine source '\(spine.source)' share"
        )
      }
      return
    }
    guard let rows = sources.first(where: { $0.definition.name == spine.source }) else { return }
    var types: [ColumnType] = []
    for source in [rows, label] {
      guard let type = source.fieldType(join.value) else {
        diagnostics.report(
          "'join' of \(mapping.noun): source '\(source.definition.name)' has no field '\(join.value)'"
            + suggestion(for: join.value, among: source.fields), at: join.place)
        continue
      }
      if let type { types.append(type) }
    }
    if let array = types.first(where: \.isArray) {
      diagnostics.report(
        "'join' of \(mapping.noun): '\(join.value)' is \(array.rawValue); rows cannot be joined by an array",
        at: join.place)
    } else if types.count == 2, types[0] != types[1] {
      diagnostics.report(
        "'join' of \(mapping.noun): '\(join.value)' is \(types[0].rawValue) in source '\(spine.source)' and \(types[1].rawValue) in source '\(label.definition.name)'",
        at: join.place)
    }
  }

  func train(_ reader: NodeReader) -> TrainingDefinition? {
    let keys = ["run", "data", "schedule", "zone", "metric", "holdout", "parameters"]
    guard let mapping = reader.mapping(of: reader.what, known: keys) else { return nil }
    let schedule = mapping["schedule"]?.text("five cron fields, like \"0 2 * * SUN\"")
    if let schedule {
      do {
        _ = try CronSchedule(schedule.value)
      } catch {
        diagnostics.report("'schedule' of \(mapping.noun): \(error.message)", at: schedule.place)
      }
    }
    let data = mapping["data"]?.span()
    let zone = mapping["zone"]?.zone()
    let metric = mapping["metric"]?.word("a metric", as: TrainingDefinition.Metric.self)
    let holdout = mapping["holdout"].flatMap { $0.share() }
    let parameters = mapping["parameters"].flatMap(json)
    guard
      let run = mapping.required("run", "a function, like train.py:train")?.codeReference(
        files)
    else { return nil }
    return TrainingDefinition(
      run: run, data: data?.value, schedule: schedule?.value, zone: zone ?? "UTC",
      metric: metric?.value ?? .rocAUC, holdout: holdout ?? 0.2, parameters: parameters ?? "{}")
  }

  private func json(_ reader: NodeReader) -> String? {
    guard case .mapping = reader.node else {
      reader.report("\(reader.what) must be a mapping, not \(reader.node.kindName)")
      return nil
    }
    return reader.node.json
  }
}

extension YAMLNode {
  /// The value as JSON text with sorted keys; bare words that are no number, boolean or null are strings.
  var json: String {
    switch self {
    case .scalar(let scalar):
      if scalar.isNull { return "null" }
      if let value = scalar.boolean { return value ? "true" : "false" }
      if let value = scalar.integer { return String(value) }
      if let value = scalar.number { return "\(value)" }
      return jsonString(scalar.text)
    case .list(let items, _):
      return "[" + items.map(\.json).joined(separator: ",") + "]"
    case .mapping(let entries, _):
      let pairs = entries.sorted { $0.key.text < $1.key.text }
        .map { "\(jsonString($0.key.text)):\($0.value.json)" }
      return "{" + pairs.joined(separator: ",") + "}"
    }
  }

  private func jsonString(_ text: String) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .withoutEscapingSlashes
    guard let data = try? encoder.encode(text) else { return "\"\"" }
    return String(decoding: data, as: UTF8.self)
  }
}
