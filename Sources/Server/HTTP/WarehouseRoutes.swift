import Core
import Hummingbird
import Synchronization

/// Read-only looks into the warehouse.
struct WarehouseRoutes {
  let services: PlatformServices

  private static let sqlRows = 10_000

  func add(to router: RouterGroup<HTTPRouter.Context>) {
    router.post("sql") { request, _ in
      guard let sql = try await request.json()["sql"]?.string else {
        throw PlatformError(.invalidArgument, "send {\"sql\": \"SELECT …\"}")
      }
      let rows = try await collect(sql, [])
      return JSONResponse.ok(
        .object([
          "columns": .array(rows.names.map { .string($0) }),
          "rows": .array(rows.rows.map { .array($0) }),
          "truncated": .bool(rows.isCut),
        ]))
    }
  }

  private struct Rows: Sendable {
    var names: [String] = []
    var rows: [[JSON]] = []
    var isCut = false
  }

  private struct Enough: Error {}

  /// The first rows of a query; the rest is cut off and said so.
  private func collect(_ sql: String, _ parameters: [Value]) async throws -> Rows {
    let found = Mutex(Rows())
    do {
      try await services.warehouse.stream(sql, parameters) { batch in
        let batch = copy batch
        let isFull = found.withLock { found in
          found.names = batch.columns.map(\.name)
          for row in 0..<batch.count {
            guard found.rows.count < Self.sqlRows else {
              found.isCut = true
              break
            }
            found.rows.append(batch.columns.map { JSON($0[row]) })
          }
          return found.isCut
        }
        if isFull { throw Enough() }
      }
    } catch is Enough {}
    return found.withLock { $0 }
  }
}
