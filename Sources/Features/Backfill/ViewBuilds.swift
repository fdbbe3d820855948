import Core

/// Which generation of each view's states is read, and which is being built, as the warehouse's table `view_builds` keeps it.
///
/// Generations tell states of one layout apart: the ones that are read, and those that are computed anew beside them.
struct ViewBuilds: Sendable {
  private struct Row: Decodable, Sendable {
    var view: String
    var generation: Int64
  }

  let warehouse: any Warehouse

  /// By view, the generation that is read; views that were never computed anew are left out.
  func current() async throws -> [String: Int64] {
    let rows = try await warehouse.query(
      "SELECT view, max(generation) AS generation FROM view_builds WHERE state = 'done' "
        + "GROUP BY view", as: Row.self)
    return Dictionary(rows.map { ($0.view, $0.generation) }) { max($0, $1) }
  }

  /// Notes that a generation is being built; true where one of this storage name was begun before and nothing has been erased since.
  func begin(
    _ view: String, _ generation: Int64, storage: String, at time: Timestamp,
    isResumable: Bool = true
  ) async throws
    -> Bool
  {
    // No number of erasures is the one of a build that must not be gone on with.
    let erasures =
      isResumable
      ? try await warehouse.query("SELECT count(*) FROM erasures", as: Int64.self).first : -1
    let before = try await warehouse.query(
      "SELECT erasures FROM view_builds WHERE storage = ? AND state = 'building'",
      [.string(storage)], as: Int64.self)
    if isResumable, let before = before.first, before == erasures ?? 0 { return true }
    try await warehouse.execute(
      "DELETE FROM view_builds WHERE view = ? AND state = 'building'", [.string(view)])
    try await warehouse.execute(
      "INSERT INTO view_builds VALUES (?, ?, ?, 'building', ?, ?)",
      [
        .string(view), .int64(generation), .string(storage), .int64(erasures ?? 0),
        .timestamp(time),
      ])
    return false
  }

  /// From here on the generation is the one that is read, also after a crash.
  func finish(_ storage: String, at time: Timestamp) async throws {
    try await warehouse.execute(
      "UPDATE view_builds SET state = 'done', changed_at = ? WHERE storage = ?",
      [.timestamp(time), .string(storage)])
  }

  func abandon(_ storage: String) async throws {
    try await warehouse.execute(
      "DELETE FROM view_builds WHERE storage = ? AND state = 'building'", [.string(storage)])
  }
}
