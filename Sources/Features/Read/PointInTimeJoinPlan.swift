import Core

/// What has to be read, and evaluated in which order, to answer some features.
struct PointInTimeJoinPlan {
  struct View {
    var layout: ViewLayout
    var entity: EntityDefinition
    var source: SourceDefinition
    var wanted: [HistoryView.WantedFeature]
  }

  struct Derived {
    var name: FeatureName
    var expression: Expression
    var type: ColumnType
  }

  /// Views with features to be read from their sources, in order of first use.
  private(set) var views: [View] = []
  /// Every feature comes after the ones it is made of.
  private(set) var derived: [Derived] = []
  private let snapshot: Snapshot
  private var known: Set<FeatureName> = []

  init(_ features: [FeatureName], snapshot: Snapshot) throws {
    self.snapshot = snapshot
    for feature in features { try add(feature, path: []) }
  }

  private mutating func add(_ name: FeatureName, path: [FeatureName]) throws {
    guard !path.contains(name) else {
      let circle = (path + [name]).map(\.description).joined(separator: " → ")
      throw PlatformError(.invalidDefinition, "derived features go in a circle: \(circle)")
    }
    guard known.insert(name).inserted else { return }
    let view = try view(of: name)
    guard let reader = view.layout.readers.first(where: { $0.name == name.feature }) else {
      let near = suggestion(for: name.feature, among: view.layout.readers.map(\.name))
      throw PlatformError(
        .notFound, "there is no feature '\(name.feature)' in view '\(name.view)'\(near)")
    }
    guard case .derived(let expression) = reader.reader else {
      want(HistoryView.WantedFeature(name: name, type: reader.type, reader: reader.reader), view)
      return
    }
    for operand in expression.names {
      try add(FeatureName(operand, in: name.view), path: path + [name])
    }
    derived.append(Derived(name: name, expression: expression, type: reader.type))
  }

  private mutating func want(_ feature: HistoryView.WantedFeature, _ view: View) {
    if let index = views.firstIndex(where: { $0.layout.view == view.layout.view }) {
      views[index].wanted.append(feature)
    } else {
      var view = view
      view.wanted.append(feature)
      views.append(view)
    }
  }

  private func view(of name: FeatureName) throws -> View {
    let project = snapshot.project
    guard let layout = snapshot.layouts[name.view], let view = project.view(name.view),
      let entity = project.entity(view.entity), let source = project.source(view.source)
    else {
      let near = suggestion(for: name.view, among: project.views.map(\.name))
      throw PlatformError(.notFound, "there is no view '\(name.view)' (feature '\(name)')\(near)")
    }
    return View(layout: layout, entity: entity, source: source, wanted: [])
  }

  func view(_ name: String) -> View? { views.first { $0.layout.view == name } }

  /// Sources in order of first use.
  var sources: [SourceDefinition] {
    var sources: [SourceDefinition] = []
    for view in views where !sources.contains(where: { $0.name == view.source.name }) {
      sources.append(view.source)
    }
    return sources
  }
}

extension PointInTimeJoinPlan.View {
  /// Views of one key name match the spine through the same index.
  var keyName: String {
    zip(layout.keyColumns, layout.keyTypes).map { "\($0) \($1.rawValue)" }
      .joined(separator: "\n")
  }

  /// Source columns that answering takes.
  var columns: [String] {
    layout.keyColumns
      + wanted.flatMap { feature -> [String] in
        switch feature.reader {
        case .latest(let column, _): [layout.latestColumns[column].name]
        case .window(_, _, let window):
          (window.column.map { [$0] } ?? []) + (window.filter?.names ?? [])
        case .derived: []
        }
      }
  }

  var readsLatest: Bool {
    wanted.contains { if case .latest = $0.reader { true } else { false } }
  }

  /// The earliest event that can count at a spine that begins at `time`; nil where every old event
  /// may.
  func reach(from time: Int64) -> Int64? {
    var earliest = time
    for feature in wanted {
      switch feature.reader {
      case .latest(_, nil): return nil
      case .latest(_, let ttl?): earliest = min(earliest, time &- ttl.microseconds)
      case .window(_, _, let window):
        earliest = min(
          earliest, window.start(at: Timestamp(microseconds: time)).microseconds)
      case .derived: break
      }
    }
    return earliest
  }
}

extension HistoryRequest {
  /// What the views need of their source; nil where the spine has no row that could see anything.
  ///
  /// - Parameter isPruned: leaves out events that only tell an expired value from one that never
  ///   was.
  init?(
    source: SourceDefinition, views: [PointInTimeJoinPlan.View], indexes: [String: SpineIndex],
    mode: HistoryMode, isPruned: Bool
  ) {
    var first: Int64? = .max
    var last: Int64?
    for view in views {
      guard let range = indexes[view.keyName]?.range else { continue }
      last = max(last ?? .min, range.upperBound)
      let reach =
        isPruned ? view.reach(from: range.lowerBound) : nil
      first = first.flatMap { first in reach.map { min(first, $0) } }
    }
    guard let last else { return nil }
    var columns: [String] = []
    for column in views.flatMap(\.columns)
    where !columns.contains(column) && source.column(column) != nil {
      columns.append(column)
    }
    self.init(
      source: source, columns: columns, withAbsent: false,
      from: first.map { Timestamp(microseconds: $0) }, through: Timestamp(microseconds: last),
      knownThrough: mode == .asKnown ? Timestamp(microseconds: last) : nil)
  }
}

extension FeatureName {
  /// What an expression of a view means by a name: a bare one is a feature of the same view.
  init(_ operand: String, in view: String) {
    self = FeatureName(operand) ?? FeatureName(view: view, feature: operand)
  }
}
