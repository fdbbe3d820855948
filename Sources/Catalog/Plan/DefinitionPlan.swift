import Core

/// What applying new definitions would do to the ones in force: a diff that people read and machines can.
package struct DefinitionPlan: Sendable, Equatable, Codable {
  package enum Action: String, Sendable, Codable { case added, changed, removed }

  package enum Kind: String, Sendable, Codable {
    case project, entity, source, view, feature, model
  }

  /// One field of a changed thing; nil where the field was not there or is no longer.
  package struct FieldChange: Sendable, Equatable, Codable {
    package var field: String
    package var old: String?
    package var new: String?
  }

  package struct Change: Sendable, Equatable, Codable {
    package var action: Action
    package var kind: Kind
    /// `view.feature` for a feature.
    package var name: String
    package var fields: [FieldChange]
    /// Why stored events are read again for it; nil where they are not.
    package var backfill: String?
  }

  /// A reason why the definitions are not applied.
  package struct Breakage: Sendable, Equatable, Codable {
    /// What would change: `feature 'a.b'`.
    package var subject: String
    /// Who would suffer: `model 'm' version 3 (production)`, a job, features; nil where it is the stored data only.
    package var breaks: String?
    package var message: String
  }

  package var changes: [Change]
  package var breakages: [Breakage]
  /// What is good to know before applying.
  package var notes: [String]

  package var isEmpty: Bool { changes.isEmpty }

  /// The features that are computed from stored events.
  package var backfills: [String] { changes.filter { $0.backfill != nil }.map(\.name) }
}

extension DefinitionPlan {
  /// Compares definitions.
  ///
  /// - Parameters:
  ///   - old: what is in force; nil before the first apply.
  ///   - models: the registry, to find whom a change would break.
  ///   - jobs: those that are not over, likewise.
  ///   - stored: what the warehouse has of sources of which columns are new or change their type.
  package init(
    from old: ProjectDefinition?, to new: ProjectDefinition, models: [String: [ModelVersion]],
    jobs: [LineageJob] = [], stored: [String: StoredSource] = [:]
  ) {
    let before = old ?? ProjectDefinition(name: new.name)
    changes =
      Self.compare(.project, [before].map(DescribedItem.init), [new].map(DescribedItem.init))
      + Self.compare(
        .entity, before.entities.map(DescribedItem.init), new.entities.map(DescribedItem.init))
      + Self.compare(
        .source, before.sources.map(DescribedItem.init), new.sources.map(DescribedItem.init))
      + Self.compare(.view, before.views.map(DescribedItem.init), new.views.map(DescribedItem.init))
      + Self.compare(.feature, before.describedFeatures, new.describedFeatures)
      + Self.compare(
        .model, before.models.map(DescribedItem.init), new.models.map(DescribedItem.init))
    breakages = []
    notes = []
    markBackfills(from: before, to: new)
    let uses = PlanUses(from: before, to: new)
    breakages = Self.retypedColumns(from: before, to: new, uses, stored)
    for model in new.models {
      for version in models[model.name] ?? [] where version.stage != .archived {
        breakages += uses.breakages(of: version)
        notes += uses.notes(on: version)
      }
    }
    breakages += jobs.flatMap(uses.breakages)
    notes += uses.notesOnRemovedModels(models)
    notes += Self.notes(from: before, to: new)
  }

  private static func compare(
    _ kind: Kind, _ old: [DescribedItem], _ new: [DescribedItem]
  ) -> [Change] {
    let oldByName = Dictionary(old.map { ($0.name, $0) }) { first, _ in first }
    let newNames = Set(new.map(\.name))
    var changes: [Change] = []
    for item in new {
      if let before = oldByName[item.name] {
        let fields = fieldChanges(before.fields, item.fields)
        if !fields.isEmpty {
          changes.append(Change(action: .changed, kind: kind, name: item.name, fields: fields))
        }
      } else {
        changes.append(
          Change(action: .added, kind: kind, name: item.name, fields: fieldChanges([], item.fields))
        )
      }
    }
    for item in old where !newNames.contains(item.name) {
      changes.append(Change(action: .removed, kind: kind, name: item.name, fields: []))
    }
    return changes
  }

  private static func fieldChanges(
    _ old: [DescribedItem.Field], _ new: [DescribedItem.Field]
  ) -> [FieldChange] {
    let oldTexts = Dictionary(old.map { ($0.name, $0.text) }) { first, _ in first }
    let newNames = Set(new.map(\.name))
    let kept = new.filter { !(oldTexts[$0.name]?.hasSameBytes(as: $0.text) ?? false) }
      .map { FieldChange(field: $0.name, old: oldTexts[$0.name], new: $0.text) }
    let gone = old.filter { !newNames.contains($0.name) }
      .map { FieldChange(field: $0.name, old: $0.text, new: nil) }
    return kept + gone
  }

  // MARK: Backfill

  /// Derived features are evaluated after retrieval, so only stored ones are computed from events.
  private mutating func markBackfills(from old: ProjectDefinition, to new: ProjectDefinition) {
    let movedViews = new.views.filter { view in
      guard let before = old.view(view.name) else { return false }
      return before.source != view.source || before.entity != view.entity
        || old.entity(before.entity)?.key != new.entity(view.entity)?.key
    }
    for index in changes.indices where changes[index].kind == .feature {
      guard let name = FeatureName(changes[index].name), let view = new.view(name.view) else {
        continue
      }
      changes[index].backfill = Self.backfill(changes[index], view, old)
    }
    for view in movedViews {
      for feature in view.features where old.view(view.name)?.feature(feature.name) == feature {
        if case .derived = feature.kind { continue }
        changes.append(
          Change(
            action: .changed, kind: .feature, name: "\(view.name).\(feature.name)", fields: [],
            backfill: "its view changed: computed anew from the stored events of '\(view.source)'"))
      }
    }
  }

  private static func backfill(
    _ change: Change, _ view: ViewDefinition, _ old: ProjectDefinition
  ) -> String? {
    guard let feature = FeatureName(change.name).flatMap({ view.feature($0.feature) }),
      old.source(view.source) != nil
    else { return nil }
    if case .derived = feature.kind { return nil }
    switch change.action {
    case .removed: return nil
    case .added: return "computed from the stored events of '\(view.source)'"
    case .changed:
      // A ttl is applied when the value is read.
      let isOnlyTTL = change.fields.allSatisfy { $0.field == "ttl" }
      return isOnlyTTL ? nil : "computed anew from the stored events of '\(view.source)'"
    }
  }

  // MARK: Breakages

  private static func retypedColumns(
    from old: ProjectDefinition, to new: ProjectDefinition, _ uses: PlanUses,
    _ stored: [String: StoredSource]
  ) -> [Breakage] {
    new.sources.flatMap { source -> [Breakage] in
      let known = stored[source.name]
      // Nothing is stored with the old type.
      if known?.events == 0 { return [] }
      let count = known.map { "\($0.events) event\($0.events == 1 ? " is" : "s are")" }
      return source.columns.compactMap { column in
        let declared = old.source(source.name)?.column(column.name)?.type
        guard let before = known?.columns[column.name] ?? declared, before != column.type else {
          return nil
        }
        let users = uses.users(ofColumn: "\(source.name).\(column.name)")
        return Breakage(
          subject: "column '\(column.name)' of source '\(source.name)'",
          breaks: users.isEmpty ? nil : users.joined(separator: ", "),
          message:
            "the type of column '\(column.name)' of source '\(source.name)' cannot change from "
            + "\(before.rawValue) to \(column.type.rawValue): \(count ?? "its events are") stored with the old one; "
            + "add a column with a new name")
      }
    }
  }

  // MARK: Notes

  private static func notes(from old: ProjectDefinition, to new: ProjectDefinition) -> [String] {
    var notes: [String] = []
    for source in old.sources where new.source(source.name) == nil {
      notes.append(
        "source '\(source.name)' is removed: its stored events stay in the table events_\(source.name)"
      )
    }
    for source in new.sources {
      guard let before = old.source(source.name) else { continue }
      if before.eventTime != source.eventTime || before.zone != source.zone {
        notes.append(
          "source '\(source.name)': events that are stored already keep the time they were stored with"
        )
      }
      if before.transform != source.transform {
        notes.append(
          "source '\(source.name)': the transform is for new events; stored ones keep their columns until 'martlet backfill source:\(source.name)'"
        )
      }
    }
    for view in new.views {
      guard let retention = new.source(view.source)?.retention else { continue }
      for feature in view.features {
        if case .window(let window) = feature.kind, window.length > retention {
          notes.append(
            "feature '\(view.name).\(feature.name)' reaches back \(window.length), further than the events "
              + "of source '\(view.source)' are kept (\(retention))")
        }
        if case .latest(_, let ttl?) = feature.kind, ttl > retention {
          notes.append(
            "feature '\(view.name).\(feature.name)' has a ttl of \(ttl), longer than the events of source "
              + "'\(view.source)' are kept (\(retention)): history has no value from what was dropped"
          )
        }
      }
    }
    return notes
  }
}
