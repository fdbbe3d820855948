import Core

/// A selection of features worked out against one snapshot: positions in place of names.
///
/// A row is worked out in *cells*: first the wanted features in their order, then whatever derived features need besides.
package struct HydrationPlan: Sendable {
  /// The key that the views of one entity are read by.
  struct Key: Sendable {
    var entity: String
    var columns: [ColumnDefinition]
  }

  /// One view: one read of the store.
  struct View: Sendable {
    var storageName: String
    /// An index into `keys`.
    var key: Int
    var reader: FeatureReader
    /// The cell of each of the reader's features.
    var cells: [Int]
  }

  struct Input: Sendable {
    var column: ColumnDefinition
    var cell: Int
  }

  struct Derived: Sendable {
    var expression: Expression
    /// The cells behind the expression's names.
    var names: [(name: String, cell: Int)]
    var cell: Int
    var type: ColumnType
    /// Whose feature it is: a row in which this key has a null part has none (semantics §7). Nil for a model's, and where
    /// nothing of its view is read.
    var key: Int?
  }

  package let features: [ColumnDefinition]
  let keys: [Key]
  let names: RowNames
  let views: [View]
  let inputs: [Input]
  /// Each after all that it reads.
  let derived: [Derived]
  /// By cell.
  let types: [ColumnType]

  package init(_ selection: HydrateSelection, snapshot: Snapshot) throws {
    var planner = HydrationPlanner(snapshot: snapshot)
    switch selection {
    case .features(let names):
      features = try planner.plan(names)
    case .vector(let vector, let inputs, let entities):
      features = try planner.plan(vector, inputs: inputs, entities: entities)
    }
    names = RowNames(keys: planner.entities, inputs: planner.modelInputs.keys.sorted())
    keys = planner.keys
    inputs = planner.inputs
    derived = planner.keyedDerived
    types = planner.types
    views = planner.views.map { view in
      View(
        storageName: view.layout.storageName, key: view.key,
        reader: FeatureReader(view.layout, readers: view.readers), cells: view.cells)
    }
  }
}

/// Finds what each wanted feature is made of.
private struct HydrationPlanner {
  struct View {
    var layout: ViewLayout
    var key: Int
    var readers: [Int] = []
    var cells: [Int] = []
  }

  /// What a cell holds, as other expressions may name it.
  private enum Name: Hashable {
    case feature(FeatureName)
    /// An input or a derived feature of the model.
    case bare(String)
  }

  let snapshot: Snapshot
  var keys: [HydrationPlan.Key] = []
  /// Those whose keys a row may name: of `keys`, and of every view that is asked for, whether it is read or not.
  var entities: [RowNames.Entity] = []
  var views: [View] = []
  var inputs: [HydrationPlan.Input] = []
  var derived: [HydrationPlan.Derived] = []
  /// By entry of `derived`, whose feature it is; nil for a model's.
  private var derivedViews: [String?] = []
  var types: [ColumnType] = []
  private var cells: [Name: Int] = [:]
  /// Derived features that are being worked out, outermost first: a name among them closes a cycle.
  private var path: [String] = []
  private var modelFeatures: [String: ModelFeature] = [:]
  private(set) var modelInputs: [String: ColumnDefinition] = [:]

  init(snapshot: Snapshot) { self.snapshot = snapshot }

  /// The derived features with the keys of their views, when all views are known.
  var keyedDerived: [HydrationPlan.Derived] {
    zip(derived, derivedViews).map { step, name in
      var step = step
      step.key = views.first { $0.layout.view == name }?.key
      return step
    }
  }

  mutating func plan(_ names: [FeatureName]) throws -> [ColumnDefinition] {
    let wanted = try names.map { name in
      let (layout, reader) = try find(name)
      admit(entity(of: layout), layout.keyColumns)
      return ColumnDefinition(name: name.description, type: layout.readers[reader].type)
    }
    types = wanted.map(\.type)
    for (cell, name) in names.enumerated() { cells[.feature(name)] = cell }
    for (cell, name) in names.enumerated() { try fill(cell, with: name) }
    return wanted
  }

  mutating func plan(
    _ vector: [ModelFeature], inputs: [ColumnDefinition], entities: [String]
  ) throws -> [ColumnDefinition] {
    for name in entities {
      if let entity = snapshot.project.entity(name) { admit(name, entity.key) }
    }
    modelInputs = Dictionary(inputs.map { ($0.name, $0) }) { first, _ in first }
    modelFeatures = Dictionary(vector.map { ($0.name, $0) }) { first, _ in first }
    types = vector.map(\.type)
    for (cell, feature) in vector.enumerated() {
      if case .view(let name) = feature.origin {
        cells[.feature(name)] = cell
      } else {
        cells[.bare(feature.name)] = cell
      }
    }
    for (cell, feature) in vector.enumerated() {
      switch feature.origin {
      case .view(let name): try fill(cell, with: name)
      case .input:
        let column = ColumnDefinition(name: feature.name, type: feature.type)
        self.inputs.append(HydrationPlan.Input(column: column, cell: cell))
      case .derived(let expression):
        try fill(cell, with: expression, named: feature.name, view: nil)
      }
    }
    return vector.map { ColumnDefinition(name: $0.name, type: $0.type) }
  }

  private func find(_ name: FeatureName) throws -> (ViewLayout, Int) {
    guard let layout = snapshot.layouts[name.view] else {
      throw PlatformError(
        .notFound,
        "there is no view '\(name.view)' (for feature '\(name)')"
          + suggestion(for: name.view, among: snapshot.layouts.keys))
    }
    guard let reader = layout.readers.firstIndex(where: { $0.name == name.feature }) else {
      throw PlatformError(
        .notFound,
        "view '\(name.view)' has no feature '\(name.feature)'"
          + suggestion(for: name.feature, among: layout.readers.map(\.name)))
    }
    return (layout, reader)
  }

  private mutating func fill(_ cell: Int, with name: FeatureName) throws {
    let (layout, reader) = try find(name)
    if case .derived(let expression) = layout.readers[reader].reader {
      try fill(cell, with: expression, named: name.description, view: name.view)
      return
    }
    let index: Int
    if let known = views.firstIndex(where: { $0.layout.view == name.view }) {
      index = known
    } else {
      views.append(View(layout: layout, key: key(of: layout)))
      index = views.count - 1
    }
    views[index].readers.append(reader)
    views[index].cells.append(cell)
  }

  private mutating func key(of layout: ViewLayout) -> Int {
    let entity = entity(of: layout)
    admit(entity, layout.keyColumns)
    let columns = zip(layout.keyColumns, layout.keyTypes).map {
      ColumnDefinition(name: $0, type: $1)
    }
    if let known = keys.firstIndex(where: { $0.entity == entity && $0.columns == columns }) {
      return known
    }
    keys.append(HydrationPlan.Key(entity: entity, columns: columns))
    return keys.count - 1
  }

  private func entity(of layout: ViewLayout) -> String {
    snapshot.project.view(layout.view)?.entity ?? layout.view
  }

  private mutating func admit(_ entity: String, _ columns: [String]) {
    let admitted = RowNames.Entity(name: entity, columns: columns)
    if !entities.contains(admitted) { entities.append(admitted) }
  }

  /// - Parameter view: whose features the expression names without a prefix; nil for a model's expression.
  private mutating func fill(
    _ cell: Int, with expression: Expression, named name: String, view: String?
  ) throws {
    if let start = path.firstIndex(of: name) {
      let cycle = (path[start...] + [name]).joined(separator: " → ")
      throw PlatformError(
        .invalidDefinition, "derived features go in a circle: \(cycle); break it and apply again")
    }
    path.append(name)
    defer { path.removeLast() }
    let names = try expression.names.map { operand in
      (name: operand, cell: try self.cell(of: operand, in: view, for: name))
    }
    guard !derived.contains(where: { $0.cell == cell }) else { return }
    derived.append(
      HydrationPlan.Derived(expression: expression, names: names, cell: cell, type: types[cell]))
    derivedViews.append(view)
  }

  /// The cell of an operand, which is filled before whatever reads it.
  private mutating func cell(of operand: String, in view: String?, for user: String) throws -> Int {
    if let name = FeatureName(operand) ?? view.map({ FeatureName(view: $0, feature: operand) }) {
      let (layout, reader) = try find(name)
      let known = cells[.feature(name)]
      let cell = known ?? newCell(.feature(name), layout.readers[reader].type)
      // A wanted feature is filled in its turn, but a derived one must come before what reads it.
      if case .derived = layout.readers[reader].reader {
        if !derived.contains(where: { $0.cell == cell }) { try fill(cell, with: name) }
      } else if known == nil {
        try fill(cell, with: name)
      }
      return cell
    }
    if let feature = modelFeatures[operand], let cell = cells[.bare(operand)] {
      if case .derived(let expression) = feature.origin,
        !derived.contains(where: { $0.cell == cell })
      {
        try fill(cell, with: expression, named: operand, view: nil)
      }
      return cell
    }
    guard let input = modelInputs[operand] else {
      throw PlatformError(
        .notFound,
        "feature '\(user)' reads '\(operand)', which is neither a feature nor an input"
          + suggestion(for: operand, among: Array(modelInputs.keys) + Array(modelFeatures.keys)))
    }
    if let known = cells[.bare(operand)] { return known }
    let cell = newCell(.bare(operand), input.type)
    inputs.append(HydrationPlan.Input(column: input, cell: cell))
    return cell
  }

  private mutating func newCell(_ name: Name, _ type: ColumnType) -> Int {
    types.append(type)
    cells[name] = types.count - 1
    return types.count - 1
  }
}
