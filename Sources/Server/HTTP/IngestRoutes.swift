import Core
import Features
import Hummingbird
import NIOCore

/// Events in: pushes and files.
struct IngestRoutes {
  let services: PlatformServices

  func add(to router: RouterGroup<HTTPRouter.Context>) {
    addPushes(to: router)
    addTransformTests(to: router)
    addFiles(to: router)
  }

  private func addPushes(to router: RouterGroup<HTTPRouter.Context>) {
    router.post("sources/:source/events") { request, context in
      let isLines = request.headers[.contentType]?.hasPrefix("application/x-ndjson") ?? false
      let sequence = try request.query("sequence").map { text in
        guard let number = UInt64(text) else {
          throw PlatformError(.invalidArgument, "'sequence' must be a number, not '\(text)'")
        }
        return number
      }
      let timeout = try request.query("timeout_ms").map { text in
        guard let milliseconds = Int64(text), (1...Int64(Int32.max)).contains(milliseconds) else {
          throw PlatformError(
            .invalidArgument, "'timeout_ms' must be a whole number above 0, not '\(text)'")
        }
        return Span.milliseconds(milliseconds)
      }
      let receipt = try await services.push(
        PushCall(
          source: context.name("source"), records: try await request.bytes(), isLines: isLines,
          client: request.query("client"), sequence: sequence, wait: request.query("wait")),
        within: timeout)
      return JSONResponse.ok(receipt.json)
    }
  }

  private func addTransformTests(to router: RouterGroup<HTTPRouter.Context>) {
    router.post("sources/:source/test-transform") { request, context in
      let source = try context.name("source")
      guard let rows = Int(request.query("rows") ?? "100") else {
        throw PlatformError(.invalidArgument, "'rows' must be a number")
      }
      guard let name = request.query("name") else {
        return JSONResponse.ok(
          try await services.testTransform(source: source, rows: rows, file: nil).json)
      }
      let format = request.query("format")
      try services.checkFile(source: source, name: name, format: format)
      let path = services.spool.newPath()
      try await services.spool.write(request.body, to: path)
      defer { services.spool.remove(path) }
      return JSONResponse.ok(
        try await services.testTransform(
          source: source, rows: rows, file: (path, name, format)
        ).json)
    }
  }

  private func addFiles(to router: RouterGroup<HTTPRouter.Context>) {
    router.post("sources/:source/files") { request, context in
      let source = try context.name("source")
      let name = try request.requiredQuery("name")
      let strict = request.query("strict") == "true"
      let format = request.query("format")
      // A wrong source or format is refused before the bytes are taken.
      try services.checkFile(source: source, name: name, format: format)
      let path = services.spool.newPath()
      try await services.spool.write(request.body, to: path)
      guard request.headers[.accept]?.contains("application/x-ndjson") ?? false else {
        defer { services.spool.remove(path) }
        let report = try await services.ingestFile(
          at: path, name: name, source: source, format: format, strict: strict)
        return JSONResponse.ok(report.json)
      }
      return Response(
        status: .ok, headers: [.contentType: "application/x-ndjson"],
        body: ResponseBody { writer in
          defer { services.spool.remove(path) }
          let (lines, feed) = AsyncStream.makeStream(
            of: JSON.self, bufferingPolicy: .bufferingNewest(8))
          async let last: JSON = Self.finish(feed) {
            try await services.ingestFile(
              at: path, name: name, source: source, format: format, strict: strict
            ) { progress in
              feed.yield(
                .object([
                  "rows": .int(Int64(progress.rows)), "progress": .double(progress.fraction),
                ]))
            }
          }
          for await line in lines { try await writer.write(ByteBuffer(bytes: line.utf8 + [10])) }
          try await writer.write(ByteBuffer(bytes: await last.utf8 + [10]))
          try await writer.finish(nil)
        })
    }
  }

  /// The report, or the error as the last line: the answer's status has been sent by then.
  private static func finish(
    _ feed: AsyncStream<JSON>.Continuation, _ ingest: () async throws -> FileReport
  ) async -> JSON {
    defer { feed.finish() }
    do {
      return try await ingest().json
    } catch {
      return JSONResponse.errorBody(JSONResponse.platformError(error))
    }
  }
}

extension PushReceipt {
  var json: JSON {
    .object([
      "accepted": .int(Int64(accepted)), "duplicates": .int(Int64(duplicates)),
      "quarantined": .int(Int64(quarantined)), "unknown_fields": .int(Int64(unknownFields)),
      "erased": .int(Int64(erased)), "expired": .int(Int64(expired)),
      "produced": .int(Int64(produced)),
      "reasons": .array(reasons.map { .string($0) }),
      "warnings": .array(
        warnings.sorted { $0.key < $1.key }.map {
          .object(["reason": .string($0.key), "count": .int(Int64($0.value))])
        }),
    ])
  }
}

extension FileReport {
  var json: JSON {
    .object([
      "rows": .int(Int64(rows)), "accepted": .int(Int64(accepted)),
      "duplicates": .int(Int64(duplicates)), "quarantined": .int(Int64(quarantined)),
      "erased": .int(Int64(erased)), "expired": .int(Int64(expired)),
      "already_ingested": .bool(alreadyIngested), "seconds": .double(seconds),
      "reasons": .array(
        reasons.map { .object(["reason": .string($0.reason), "count": .int(Int64($0.count))]) }),
      "warnings": .array(
        warnings.map { .object(["reason": .string($0.reason), "count": .int(Int64($0.count))]) }),
      "missing_columns": .array(missingColumns.map { .string($0) }),
      "ignored_columns": .array(ignoredColumns.map { .string($0) }),
    ])
  }
}
