import Core

/// Reads what a model's input vector is made of: stored features, request inputs and derived values.
struct ModelVectorReader {
  private static let maximumNodes = 10_000

  let featureTypes: [String: ColumnType?]
  /// By the name of a `last_k` feature, how many values it has at most.
  let listLengths: [String: Int]
  let diagnostics: Diagnostics

  func read(_ mapping: MappingReader) -> (features: [ModelFeature], inputs: [ColumnDefinition]) {
    let items = mapping.required("features", "the list of its input vector")?.list() ?? []
    if items.isEmpty, mapping["features"] != nil {
      mapping.report(
        "\(mapping.noun): 'features' must list at least one", at: mapping.place(of: "features"))
    }
    let listed = items.compactMap { $0.text("the name of a feature") }
    let inputs = inputs(mapping)
    let stored = listed.map(\.value).filter { featureTypes[$0] != nil }
    var given: [String: ColumnType?] = inputs
    for name in stored { given[name] = featureTypes[name] }
    let derived = derived(mapping, inputs: inputs, given: given)

    var features: [ModelFeature] = []
    var seen: Set<String> = []
    for name in listed {
      guard seen.insert(name.value).inserted else {
        diagnostics.report(
          "'\(name.value)' is twice in the features of \(mapping.noun)", at: name.place)
        continue
      }
      guard let feature = feature(name, inputs, derived, of: mapping) else { continue }
      if feature.type.isArray, !feature.type.isFixedNumberArray,
        feature.elements == nil || !feature.type.hasNumberElements
      {
        diagnostics.report(
          "'\(name.value)' in the features of \(mapping.noun) is \(feature.type.rawValue); the vector of a model takes "
            + "arrays of one length with number or bool elements only, like double[384], and last_k of numbers or bools",
          at: name.place)
      }
      features.append(feature)
    }
    let definitions = mapping["inputs"].map { _ in inputOrder(mapping) } ?? []
    return (
      features,
      definitions.compactMap { name in
        (inputs[name] ?? nil).map { ColumnDefinition(name: name, type: $0) }
      }
    )
  }

  private func feature(
    _ name: Located<String>, _ inputs: [String: ColumnType?], _ derived: [String: DerivedValue],
    of mapping: MappingReader
  ) -> ModelFeature? {
    if let type = inputs[name.value] {
      return type.map { ModelFeature(name: name.value, origin: .input, type: $0) }
    }
    if let value = derived[name.value] {
      return value.type.map {
        ModelFeature(name: name.value, origin: .derived(value.expression), type: $0)
      }
    }
    if let type = featureTypes[name.value], let full = FeatureName(name.value) {
      return type.map {
        ModelFeature(
          name: name.value, origin: .view(full), type: $0, elements: listLengths[name.value])
      }
    }
    let known = Array(featureTypes.keys) + inputs.keys + derived.keys
    diagnostics.report(
      "'\(name.value)' in the features of \(mapping.noun) is not a feature, input or derived value"
        + suggestion(for: name.value, among: known), at: name.place)
    return nil
  }

  private func inputOrder(_ mapping: MappingReader) -> [String] {
    guard case .mapping(let entries, _)? = mapping["inputs"]?.node else { return [] }
    return entries.map(\.key.text)
  }

  private func inputs(_ mapping: MappingReader) -> [String: ColumnType?] {
    guard
      let section = mapping["inputs"]?.mapping(of: "inputs of \(mapping.noun)", known: nil)
    else { return [:] }
    var inputs: [String: ColumnType?] = [:]
    for (name, value) in section.named("input") { inputs[name.value] = .some(value.columnType()) }
    return inputs
  }
}

extension ModelVectorReader {
  /// A derived value with the derived values that it reads put in their place.
  private struct DerivedValue {
    var expression: Expression
    var type: ColumnType?
    var nodes: Int
  }

  private func derived(
    _ mapping: MappingReader, inputs: [String: ColumnType?], given: [String: ColumnType?]
  ) -> [String: DerivedValue] {
    guard
      let section = mapping["derived"]?.mapping(of: "derived of \(mapping.noun)", known: nil)
    else { return [:] }
    var written: [(name: String, expression: WrittenExpression)] = []
    var values: [String: DerivedValue] = [:]
    for (name, value) in section.named("derived value") {
      if inputs[name.value] != nil {
        section.report(
          "'\(name.value)' is both an input and a derived value of \(mapping.noun); rename one",
          at: name.place)
      }
      if let expression = value.expression() {
        written.append((name.value, expression))
      } else {
        values[name.value] = DerivedValue(expression: .literal(.null), type: nil, nodes: 1)
      }
    }
    resolve(written, given: given, into: &values, of: mapping)
    return values
  }

  /// Resolves in rounds: each takes the values whose own names are all resolved; what is left is in a cycle.
  private func resolve(
    _ written: [(name: String, expression: WrittenExpression)], given: [String: ColumnType?],
    into values: inout [String: DerivedValue], of mapping: MappingReader
  ) {
    var pending = written
    while !pending.isEmpty {
      let waiting = Set(pending.map(\.name))
      let ready = pending.filter { waiting.isDisjoint(with: $0.expression.expression.names) }
      guard !ready.isEmpty else { return refuseCycle(among: pending, &values) }
      pending.removeAll { one in ready.contains { $0.name == one.name } }
      for (name, expression) in ready {
        values[name] = value(expression, given: given, values, of: mapping)
      }
    }
  }

  private func value(
    _ written: WrittenExpression, given: [String: ColumnType?], _ values: [String: DerivedValue],
    of mapping: MappingReader
  ) -> DerivedValue {
    var types = given
    for (name, value) in values { types[name] = .some(value.type) }
    var unlisted: [String] = []
    for name in written.expression.names where types[name] == nil && featureTypes[name] != nil {
      unlisted.append(name)
      diagnostics.report(
        "\(written.what): '\(name)' is not in the features of \(mapping.noun); list it there too",
        at: written.place(of: name))
      types[name] = .some(nil)
    }
    let type = written.checkedType(
      given: { types[$0] }, among: { Array(types.keys) },
      noun: "an input, a derived value or a listed feature of \(mapping.noun)", diagnostics)
    let whole = written.expression.replacing(names: values.mapValues(\.expression))
    let nodes = written.expression.nodeCount { values[$0]?.nodes ?? 1 }
    guard nodes <= Self.maximumNodes else {
      diagnostics.report(
        "\(written.what) is too large with all that it refers to", at: written.scalar.place)
      return DerivedValue(expression: .literal(.null), type: nil, nodes: 1)
    }
    return DerivedValue(expression: whole, type: type, nodes: nodes)
  }

  private func refuseCycle(
    among pending: [(name: String, expression: WrittenExpression)],
    _ values: inout [String: DerivedValue]
  ) {
    let byName = Dictionary(pending.map { ($0.name, $0.expression) }) { first, _ in first }
    var path: [String] = []
    var next: String? = pending.first?.name
    while let name = next, !path.contains(name) {
      path.append(name)
      next = byName[name]?.expression.names.first { byName[$0] != nil }
    }
    if let closing = next, let start = path.firstIndex(of: closing), let last = path.last,
      let written = byName[last]
    {
      let circle = (path[start...] + [closing]).joined(separator: " → ")
      diagnostics.report(
        "\(written.what): a cycle of derived values: \(circle)", at: written.place(of: closing))
    }
    for (name, _) in pending {
      values[name] = DerivedValue(expression: .literal(.null), type: nil, nodes: 1)
    }
  }
}

extension Expression {
  /// The same expression with other expressions in the place of some names.
  func replacing(names: [String: Expression]) -> Expression {
    switch self {
    case .literal: self
    case .name(let name): names[name] ?? self
    case .unary(let sign, let operand): .unary(sign, operand.replacing(names: names))
    case .binary(let sign, let left, let right):
      .binary(sign, left.replacing(names: names), right.replacing(names: names))
    case .call(let function, let arguments):
      .call(function, arguments.map { $0.replacing(names: names) })
    case .membership(let operand, let members):
      .membership(operand.replacing(names: names), members.map { $0.replacing(names: names) })
    }
  }

  /// The size of the tree when each name stands for a tree of the given size.
  func nodeCount(ofName size: (String) -> Int) -> Int {
    switch self {
    case .literal: 1
    case .name(let name): size(name)
    case .unary(_, let operand): 1 + operand.nodeCount(ofName: size)
    case .binary(_, let left, let right):
      1 + left.nodeCount(ofName: size) + right.nodeCount(ofName: size)
    case .call(_, let arguments): 1 + arguments.reduce(0) { $0 + $1.nodeCount(ofName: size) }
    case .membership(let operand, let members):
      members.reduce(1 + operand.nodeCount(ofName: size)) { $0 + $1.nodeCount(ofName: size) }
    }
  }
}
