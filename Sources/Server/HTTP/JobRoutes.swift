import Core
import Hummingbird
import Jobs

/// Trainings and backfills: the list, one, cancel and retry.
struct JobRoutes {
  let services: PlatformServices

  func add(to router: RouterGroup<HTTPRouter.Context>) {
    router.get("jobs") { request, _ in
      let jobs = try await services.jobs.jobs(limit: try request.limit(default: 50))
      return JSONResponse.ok(.object(["jobs": .array(jobs.map(JobJSON.job))]))
    }
    router.get("jobs/:id") { request, context in
      let id = try context.name("id")
      guard request.query("wait") == "true" else {
        return JSONResponse.ok(JobJSON.job(try await services.jobs.job(id)))
      }
      return JSONResponse.ok(
        JobJSON.job(try await services.nextChange(of: id, seen: request.query("seen") ?? "")))
    }
    router.post("views/:view/backfill") { request, context in
      try await backfill(context.name("view"), try await request.json())
    }
    router.post("sources/:source/backfill") { request, context in
      try await backfill("source:\(context.name("source"))", try await request.json())
    }
    router.get("jobs/:id/logs") { request, context in
      let limit = try request.limit(default: Limits.jobLogLines)
      let lines = try await services.jobs.lines(of: context.name("id"), limit: limit)
      return JSONResponse.ok(.object(["lines": .array(lines.map(JobJSON.line))]))
    }
    router.post("jobs/:id/cancel") { _, context in
      try await change(context.name("id"), .cancel, "is over already")
    }
    router.post("jobs/:id/retry") { _, context in
      try await change(context.name("id"), .retry, "has neither failed nor been cancelled")
    }
  }

  private func backfill(_ target: String, _ body: JSON) async throws -> Response {
    try body.refuseMembers(except: ["reason", "rows_per_second", "from", "to"])
    func time(_ name: String) throws -> Timestamp? {
      guard let text = body[name]?.string else { return nil }
      do { return try Timestamp(iso8601: text) } catch {
        throw PlatformError(
          .invalidArgument, "'\(name)' must be a time like 2026-01-05T00:00:00Z, not '\(text)'")
      }
    }
    let job = try await services.backfill(
      BackfillCall(
        target, reason: body["reason"]?.string, rowsPerSecond: body["rows_per_second"]?.int,
        from: try time("from"), to: try time("to")))
    return JSONResponse.ok(JobJSON.job(job))
  }

  private func change(
    _ id: String, _ event: JobRunStateMachine.Event, _ refusal: String
  ) async throws -> Response {
    guard let job = try await services.jobs.apply(event, to: id) else {
      throw PlatformError(.failedPrecondition, "job \(id) \(refusal)")
    }
    return JSONResponse.ok(JobJSON.job(job))
  }
}

enum JobJSON {
  static func line(_ line: JobLogLine) -> JSON {
    .object([
      "number": .int(line.number), "time": .string(line.time.description),
      "attempt": .int(Int64(line.attempt)), "level": .string(line.line.level),
      "logger": .string(line.line.logger), "message": .string(line.line.message),
    ])
  }

  static func job(_ run: JobRun) -> JSON {
    .object([
      "id": .string(run.id), "kind": .string(run.kind), "model": .string(run.model),
      "state": .string(run.state.rawValue), "attempt": .int(Int64(run.attempt)),
      "reason": .string(run.reason), "progress": .string(run.progress),
      "error": run.error.map { .string($0) } ?? .null,
      "version": run.version.map { .int($0) } ?? .null,
      "created_at": .string(run.createdAt.description),
      "finished_at": run.finishedAt.map { .string($0.description) } ?? .null,
    ])
  }
}
