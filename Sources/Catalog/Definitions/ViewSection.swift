import Core

/// A view as it was read; the types of derived features are found later, when all views are known.
struct ReadView {
  var name: Located<String>
  var entity: String
  var source: String
  var features: [ReadFeature]
}

struct ReadFeature {
  var name: Located<String>
  /// Nil where the feature is in error.
  var kind: FeatureKind?
  var type: ColumnType?
  /// Set for derived features.
  var written: WrittenExpression?
}

/// Reads `views:`.
struct ViewSection {
  let entities: [EntityDefinition]
  let sources: [SourceScope]
  let diagnostics: Diagnostics

  func read(_ section: MappingReader?) -> [ReadView] {
    (section?.named("view") ?? []).compactMap { name, value in
      guard
        let mapping = value.mapping(
          of: value.what, known: ["entity", "source", "features"], at: name.place)
      else { return nil }
      return view(name, mapping)
    }
  }

  private func view(_ name: Located<String>, _ mapping: MappingReader) -> ReadView {
    let entity = mapping.required("entity")?.reference("entity", among: entities.map(\.name))
    let source = mapping.required("source")?
      .reference("source", among: sources.map(\.definition.name))
    let scope = source.flatMap { source in sources.first { $0.definition.name == source.value } }
    if let entity, let source, let scope {
      checkKey(of: entity.value, in: scope, at: source.place)
    }
    let features = mapping.required("features")?
      .mapping(of: "features of \(mapping.noun)", known: nil)
    if let features, features.entries.isEmpty {
      features.report("\(features.noun): there must be at least one feature")
    }
    let reader = FeatureReader(source: scope, diagnostics: diagnostics)
    return ReadView(
      name: name, entity: entity?.value ?? "", source: source?.value ?? "",
      features: features?.named("feature").map { feature, value in
        reader.read(feature, value, named: "feature '\(name.value).\(feature.value)'")
      } ?? [])
  }

  private func checkKey(of name: String, in scope: SourceScope, at place: Place) {
    guard let entity = entities.first(where: { $0.name == name }) else { return }
    for column in entity.key {
      switch scope.columnTypes[column] {
      case .none:
        diagnostics.report(
          "source '\(scope.definition.name)' has no column '\(column)', which is in the key of entity '\(name)'"
            + suggestion(for: column, among: scope.columnTypes.keys), at: place)
      case .some(.some(let type)) where type != .string && type != .int64:
        diagnostics.report(
          "column '\(column)' of source '\(scope.definition.name)' is \(type.rawValue); a column in the key of entity '\(name)' must be string or int64",
          at: place)
      case .some: break
      }
    }
  }
}

/// Reads one feature of a view.
struct FeatureReader {
  private static let aggregates = AggregateFunction.allCases.map(\.rawValue)
  private static let forms = ["latest"] + aggregates + ["derived"]
  /// More tiles than this for one key would be a window of a year in seconds.
  private static let maximumTiles: Int64 = 100_000

  /// Nil where the source is in error: columns are then not checked.
  let source: SourceScope?
  let diagnostics: Diagnostics

  func read(_ name: Located<String>, _ value: NodeReader, named noun: String) -> ReadFeature {
    var feature = ReadFeature(name: name)
    let value = NodeReader(value.node, noun, diagnostics)
    guard let mapping = value.mapping(of: noun, known: nil, at: name.place) else { return feature }
    guard let form = form(of: mapping) else { return feature }
    switch form {
    case "latest": readLatest(mapping, into: &feature)
    case "derived": readDerived(mapping, into: &feature)
    default:
      if let function = AggregateFunction(rawValue: form) {
        readWindow(function, mapping, into: &feature)
      }
    }
    return feature
  }

  /// Which of the ways to make a feature is used; anything but exactly one is reported.
  private func form(of mapping: MappingReader) -> String? {
    let used = mapping.keys.filter(Self.forms.contains)
    if used.count == 1 { return used[0] }
    if used.count > 1 {
      mapping.report(
        "\(mapping.noun) is said to be both '\(used[0])' and '\(used[1])'; keep one",
        at: mapping.place(of: used[1]))
    } else if used.isEmpty {
      let options = ["window", "where", "resolution", "ttl"]
      mapping.refuseKeys(except: Self.forms + options)
      mapping.report(
        "\(mapping.noun) does not say what it is; give one of \(Self.forms.joined(separator: ", "))"
      )
    }
    return nil
  }

  private func readLatest(_ mapping: MappingReader, into feature: inout ReadFeature) {
    mapping.refuseKeys(except: ["latest", "ttl"])
    let ttl = mapping["ttl"]?.span()?.value
    guard let column = mapping["latest"].flatMap(self.column) else { return }
    feature.kind = .latest(column: column.name, ttl: ttl)
    feature.type = column.type
  }

  private func readDerived(_ mapping: MappingReader, into feature: inout ReadFeature) {
    mapping.refuseKeys(except: ["derived"])
    feature.written = mapping["derived"]?.expression()
    feature.kind = feature.written.map { .derived($0.expression) }
  }

  private func readWindow(
    _ function: AggregateFunction, _ mapping: MappingReader, into feature: inout ReadFeature
  ) {
    let own = function == .quantile ? ["q"] : function == .lastK ? ["k"] : []
    mapping.refuseKeys(except: [function.rawValue, "window", "where", "resolution"] + own)
    let aggregated = mapping[function.rawValue].flatMap { self.aggregated($0, by: function) }
    feature.type = function.type(over: aggregated?.type ?? .double)
    let share = function == .quantile ? self.share(mapping) : nil
    let limit = function == .lastK ? self.limit(mapping) : nil
    if share == nil && function == .quantile || limit == nil && function == .lastK { return }
    let filter = mapping["where"].flatMap(self.filter)
    let length = mapping.required("window", "how far back it reaches, like 24h")?.span()
    let resolution = mapping["resolution"].flatMap {
      self.resolution($0, of: length?.value)
    }
    guard let aggregated, let length else { return }
    let window = WindowDefinition(
      function: function, column: aggregated.column, filter: filter, length: length.value,
      resolution: resolution, parameter: share, limit: limit)
    guard window.resolution != WindowDefinition.exact else {
      feature.kind = .window(window)
      return
    }
    guard window.resolution <= length.value else {
      mapping.report(
        "\(mapping.noun): its window of \(length.value) is shorter than the finest tile of \(window.resolution); give it 'resolution: exact'",
        at: length.place)
      return
    }
    let tiles = length.value.microseconds / window.resolution.microseconds
    guard tiles <= Self.maximumTiles else {
      mapping.report(
        "\(mapping.noun) would keep \(tiles) tiles of \(window.resolution) for each key; at most \(Self.maximumTiles) are allowed, so give a coarser 'resolution'",
        at: length.place)
      return
    }
    feature.kind = .window(window)
  }

  private struct Aggregated {
    /// Nil counts events.
    var column: String?
    var type: ColumnType?
  }

  /// Which quantile is asked for.
  private func share(_ mapping: MappingReader) -> Double? {
    guard let reader = mapping.required("q", "which quantile, like 0.95"),
      let share = reader.number()?.value
    else { return nil }
    guard share >= 0, share <= 1 else {
      reader.report("\(reader.what) is \(share); a quantile is from 0 through 1, like 0.95")
      return nil
    }
    return share
  }

  /// How many values are asked for.
  private func limit(_ mapping: MappingReader) -> Int? {
    mapping.required("k", "how many values it gives at most, like 5")?
      .integer(1...Int64(Limits.lastValues)).map { Int($0.value) }
  }

  private func aggregated(_ reader: NodeReader, by function: AggregateFunction) -> Aggregated? {
    if function == .count, case .scalar(let scalar) = reader.node, scalar.text == "*" {
      return Aggregated(column: nil)
    }
    guard let column = column(reader) else { return nil }
    if function == .lastK, let type = column.type, type.isArray {
      reader.report(
        "\(reader.what): column '\(column.name)' is \(type.rawValue), and an array cannot hold arrays; use 'last' for the newest one"
      )
      return nil
    }
    if function.isNumeric, let type = column.type, !type.isNumeric {
      reader.report(
        "\(reader.what): column '\(column.name)' is \(type.rawValue); \(function.rawValue) needs int64 or double"
      )
      return nil
    }
    return Aggregated(column: column.name, type: column.type)
  }

  private func column(_ reader: NodeReader) -> (name: String, type: ColumnType?)? {
    guard let text = reader.text("the name of a column") else { return nil }
    guard let source else { return nil }
    guard let type = source.columnTypes[text.value] else {
      reader.report(
        "\(reader.what): source '\(source.definition.name)' has no column '\(text.value)'"
          + suggestion(for: text.value, among: source.columnTypes.keys))
      return nil
    }
    return (text.value, type)
  }

  private func filter(_ reader: NodeReader) -> Expression? {
    guard let written = reader.expression(), let source else { return nil }
    let type = written.checkedType(
      given: { source.columnTypes[$0] }, among: { Array(source.columnTypes.keys) },
      noun: "a column of source '\(source.definition.name)'",
      diagnostics)
    if let type, type != .bool {
      reader.report("\(reader.what) must be true or false for an event, but is \(type.rawValue)")
    }
    return written.expression
  }

  private func resolution(_ reader: NodeReader, of length: Span?) -> Span? {
    if case .scalar(let scalar) = reader.node, scalar.text == "exact" {
      return WindowDefinition.exact
    }
    guard case .scalar(let scalar) = reader.node, let span = Span(scalar.text) else {
      reader.report(
        "\(reader.what) must be one of \(sizes), or 'exact' to keep the events themselves")
      return nil
    }
    guard WindowDefinition.resolutions.contains(span) else {
      reader.report(
        "\(reader.what) is '\(span)'; it must be one of \(sizes), or 'exact' to keep the events themselves"
      )
      return nil
    }
    if let length, span > length {
      reader.report("\(reader.what) is '\(span)', which is longer than the window of \(length)")
      return nil
    }
    return span
  }

  private var sizes: String {
    WindowDefinition.resolutions.reversed().map(\.description).joined(separator: ", ")
  }
}
