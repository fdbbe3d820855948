import Core
import HTTPTypes
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
      if let format = request.query("format"), format != "json" {
        return try await file(sql, HistoryCall.format(format, of: "a result"))
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

  /// All rows, however many, by way of a file.
  private func file(_ sql: String, _ format: FileFormat) async throws -> Response {
    guard let warehouse = services.warehouse as? any ExportingWarehouse else {
      throw PlatformError(
        .failedPrecondition, "this warehouse writes no files; ask without 'format'")
    }
    return try await services.spool.withFile { path in
      let rows = try await warehouse.export(sql, to: path, format: format)
      var headers = HTTPFields()
      if let name = HTTPField.Name("martlet-rows") { headers[name] = "\(rows)" }
      return try FileResponse.make(path: path, format: format, headers: headers)
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
