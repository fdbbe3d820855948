import Core

/// What the warehouse has of a source, which new definitions must agree with.
package struct StoredSource: Sendable, Equatable {
  package var events: Int
  /// The type that each column is stored with, also of columns that are no longer defined.
  package var columns: [String: ColumnType]

  package init(events: Int, columns: [String: ColumnType]) {
    self.events = events
    self.columns = columns
  }

  package typealias Look = @Sendable (_ source: String) async throws -> StoredSource

  /// Asks for the sources of which columns are new or have another type than before.
  static func ask(
    _ look: Look?, from old: ProjectDefinition, to new: ProjectDefinition
  ) async throws -> [String: StoredSource] {
    guard let look else { return [:] }
    var found: [String: StoredSource] = [:]
    for source in new.sources
    where source.columns.contains(where: { $0 != old.source(source.name)?.column($0.name) }) {
      found[source.name] = try await look(source.name)
    }
    return found
  }

  /// Whether a column of the source is stored with another type than it is defined with.
  func isRetyped(by source: SourceDefinition) -> Bool {
    source.columns.contains { column in
      columns[column.name].map { $0 != column.type } ?? false
    }
  }
}
