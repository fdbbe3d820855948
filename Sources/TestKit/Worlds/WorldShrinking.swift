import Core

extension World {
  /// The smallest world that can be made of this one by leaving things out and still fails.
  ///
  /// - Parameters:
  ///   - attempts: how many worlds are tried at most.
  ///   - failure: what is wrong with a world; nil where nothing is.
  package func shrunk(
    attempts: Int = 2_000, failure: (World) async throws -> String?
  ) async throws -> (world: World, failure: String)? {
    guard var reason = try await failure(self) else { return nil }
    var smallest = self
    var left = attempts
    var isSmaller = true
    while isSmaller {
      isSmaller = false
      for candidate in smallest.smaller {
        guard left > 0 else { return (smallest, reason) }
        left -= 1
        guard let found = try await failure(candidate) else { continue }
        (smallest, reason, isSmaller) = (candidate, found, true)
        break
      }
    }
    return (smallest, reason)
  }

  /// Worlds with something left out, those that leave out most first.
  private var smaller: [World] {
    smallerViews + smallerDeliveries + smallerEvents + smallerCourses + smallerCells
  }

  private var smallerViews: [World] {
    var worlds: [World] = []
    for view in views.indices {
      worlds.append(without(Set(views[view].features.map { "\(views[view].name).\($0.name)" })))
    }
    for name in features { worlds.append(without([name.description])) }
    for probe in probes.indices {
      var world = self
      world.probes.remove(at: probe)
      worlds.append(world)
    }
    return worlds
  }

  /// Without some features and everything that is derived from them.
  private func without(_ names: Set<String>) -> World {
    var gone = names
    var world = self
    while true {
      let before = gone.count
      for view in views {
        let names = view.features.map { "\(view.name).\($0.name)" }
        let isLeft = zip(names, view.features).contains { name, feature in
          if case .derived = feature.kind { false } else { !gone.contains(name) }
        }
        // A null key is a null for what is derived in a view that is read.
        if !isLeft { gone.formUnion(names) }
        for feature in view.features {
          guard case .derived(let derivation) = feature.kind else { continue }
          let operands = derivation.operands.map { $0.contains(".") ? $0 : "\(view.name).\($0)" }
          if !gone.isDisjoint(with: operands) { gone.insert("\(view.name).\(feature.name)") }
        }
      }
      if gone.count == before { break }
    }
    for view in world.views.indices {
      let name = world.views[view].name
      world.views[view].features.removeAll { gone.contains("\(name).\($0.name)") }
    }
    world.views.removeAll { $0.features.isEmpty }
    return world
  }

  private var smallerDeliveries: [World] {
    deliveries.indices.map { number in
      var world = self
      world.deliveries.remove(at: number)
      if let restart = restartAfter, restart > number { world.restartAfter = restart - 1 }
      if let snapshot = snapshotAfter, snapshot > number { world.snapshotAfter = snapshot - 1 }
      if case .stream(let again) = course {
        world.course = .stream(
          repeating: Set(again.filter { $0 != number }.map { $0 > number ? $0 - 1 : $0 }))
      }
      return world
    }
  }

  private var smallerEvents: [World] {
    deliveries.indices.flatMap { delivery in
      deliveries[delivery].events.count < 2
        ? []
        : deliveries[delivery].events.indices.map { event in
          var world = self
          world.deliveries[delivery].events.remove(at: event)
          return world
        }
    }
  }

  private var smallerCourses: [World] {
    var worlds: [World] = []
    if course != .stream(repeating: []) {
      var world = self
      world.course = .stream(repeating: [])
      worlds.append(world)
    }
    if restartAfter != nil {
      var world = self
      world.restartAfter = nil
      world.snapshotAfter = nil
      worlds.append(world)
    }
    return worlds
  }

  /// Cells that are absent say nothing; what is not read goes first of itself.
  private var smallerCells: [World] {
    guard hasAbsentCells else {
      var world = self
      world.hasAbsentCells = true
      return deliveries.isEmpty ? [] : [world]
    }
    return deliveries.indices.flatMap { delivery in
      deliveries[delivery].events.indices.flatMap { event in
        World.source.columns.compactMap { column -> World? in
          guard column.name != "k", column.name != "n",
            (deliveries[delivery].events[event].cells[column.name] ?? nil) != nil
          else { return nil }
          var world = self
          world.deliveries[delivery].events[event].cells[column.name] = .some(nil)
          return world
        }
      }
    }
  }
}
