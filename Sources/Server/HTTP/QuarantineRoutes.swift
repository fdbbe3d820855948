import Core
import Features
import Hummingbird
import NIOCore

/// The quarantine: list, show, replay, discard, export.
struct QuarantineRoutes {
  let services: PlatformServices

  private static let exportPage = 1_000

  func add(to router: RouterGroup<HTTPRouter.Context>) {
    router.get("quarantine") { request, _ in
      let entries = try await services.quarantine.list(
        try filter(request), limit: try request.limit(default: 50))
      return JSONResponse.ok(.object(["records": .array(entries.map(\.json))]))
    }
    router.get("quarantine/export") { request, _ in try export(filter(request)) }
    router.get("quarantine/:id") { _, context in
      let text = try context.name("id")
      guard let id = Int64(text) else {
        throw PlatformError(.invalidArgument, "'\(text)' is not the id of a quarantined record")
      }
      return JSONResponse.ok(try await services.quarantine.entry(id).json)
    }
    router.post("quarantine/replay") { request, _ in
      let replay = try replayRequest(try await request.json())
      return JSONResponse.ok(try await services.replay(replay).json)
    }
    router.post("quarantine/discard") { request, _ in
      let filter = try filter(try await request.json())
      try services.requireChoice(filter)
      let count = try await services.quarantine.discard(filter)
      return JSONResponse.ok(.object(["discarded": .int(Int64(count))]))
    }
  }

  private func filter(_ request: Request) throws -> QuarantineFilter {
    try services.quarantineFilter(
      source: request.query("source") ?? "", reason: request.query("reason") ?? "",
      since: request.query("since") ?? "", status: request.query("status") ?? "")
  }

  private func filter(_ body: JSON) throws -> QuarantineFilter {
    let ids = try body["ids"].map { list in
      guard let ids = list.array?.map(\.int), !ids.contains(nil) else {
        throw PlatformError(.invalidArgument, "'ids' must be a list of whole numbers")
      }
      return ids.compactMap { $0 }
    }
    return try services.quarantineFilter(
      ids: ids, source: body["source"]?.string ?? "", reason: body["reason"]?.string ?? "",
      since: body["since"]?.string ?? "")
  }

  private func replayRequest(_ body: JSON) throws -> ReplayRequest {
    guard case .object(let fields) = body["set"] ?? .object([]) else {
      throw PlatformError(.invalidArgument, "'set' must be an object of fields and values")
    }
    var request = ReplayRequest(filter: try filter(body), fields: fields)
    if let records = body["records"]?.array {
      for record in records {
        guard let id = record["id"]?.int, let content = record["record"] else {
          throw PlatformError(
            .invalidArgument, "each of 'records' needs the record's 'id' and the 'record' itself")
        }
        if case .string(let text) = content {
          request.records[id] = Array(text.utf8)
        } else {
          request.records[id] = content.utf8
        }
      }
      if request.filter.ids == nil { request.filter.ids = request.records.keys.sorted() }
    }
    try services.requireChoice(request.filter)
    return request
  }

  /// Every record that the filter means, oldest first, one JSON object a line.
  private func export(_ filter: QuarantineFilter) throws -> Response {
    Response(
      status: .ok, headers: [.contentType: "application/x-ndjson"],
      body: ResponseBody { writer in
        var filter = filter
        while true {
          let entries = try await services.quarantine.list(
            filter, limit: Self.exportPage, oldestFirst: true)
          guard let last = entries.last else { break }
          filter.after = last.id
          var page = ByteBuffer()
          for entry in entries { page.writeBytes(entry.exportLine.utf8 + [10]) }
          try await writer.write(page)
        }
        try await writer.finish(nil)
      })
  }
}
