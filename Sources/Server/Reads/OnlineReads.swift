import Core
import Features

/// What an online read asks for, whichever way it came.
struct OnlineQuestion {
  var list: FeatureList
  var rows: [RequestRow]

  /// - Parameter set: in place of the list; exactly one of them is to be given.
  init(
    list: FeatureList?, set: String?, rows: [RequestRow], lists: FeatureLists, snapshot: Snapshot
  ) throws {
    switch (list, set) {
    case (let list?, nil): self.list = list
    case (nil, let set?): self.list = try lists.set(set, in: snapshot)
    case (nil, nil):
      throw PlatformError(
        .invalidArgument,
        "'features' must be a list of names, as in [\"customer_activity.orders_7d\"]; or name a model as 'feature_set'"
      )
    case (_?, _?):
      throw PlatformError(
        .invalidArgument, "'features' and 'feature_set' exclude each other; send one of them")
    }
    guard rows.count <= Limits.onlineReadRows else {
      throw PlatformError(
        .invalidArgument,
        "\(rows.count) rows are asked for; at most \(Limits.onlineReadRows) are read in one call")
    }
    self.rows = rows
  }
}

/// How new a view's events are.
struct ViewFreshness {
  var view: String
  var source: String
  /// Of the newest event that the view has online and whose time has come; nil before the first one.
  var newest: Timestamp?
  /// Of the event that is dated furthest ahead; nil where none is.
  var furthestAhead: Timestamp?

  func age(at now: Timestamp) -> Span? { newest.map { max(.seconds(0), now - $0) } }
}

extension PlatformServices {
  func answer(_ question: OnlineQuestion) async throws -> HydratedRows {
    try await hydrator.hydrate(
      HydrateRequest(selection: question.list.selection, rows: question.rows))
  }

  /// What can be read by name, in the order of the definitions.
  var featureSets: [ModelDefinition] { online.visible.current.project.models }

  /// In the order of the definitions.
  ///
  /// - Parameter views: empty is all; throws `not_found` for one that is not there.
  func freshness(of views: [String] = []) throws -> [ViewFreshness] {
    let snapshot = online.visible.current
    let fresh = online.freshnessOfViews(at: clock.now)
    let all = snapshot.project.views
    for name in views where !all.contains(where: { $0.name == name }) {
      throw PlatformError(
        .notFound, "there is no view '\(name)'\(suggestion(for: name, among: all.map(\.name)))")
    }
    return all.filter { views.isEmpty || views.contains($0.name) }.map { view in
      ViewFreshness(
        view: view.name, source: view.source, newest: fresh[view.name]?.newest,
        furthestAhead: fresh[view.name]?.furthestAhead)
    }
  }
}
