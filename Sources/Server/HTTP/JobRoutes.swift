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
      let body = try await request.json()
      let job = try await services.backfill(
        context.name("view"), reason: body["reason"]?.string ?? "asked for",
        rowsPerSecond: body["rows_per_second"]?.int)
      return JSONResponse.ok(JobJSON.job(job))
    }
    router.post("jobs/:id/cancel") { _, context in
      try await change(context.name("id"), .cancel, "is over already")
    }
    router.post("jobs/:id/retry") { _, context in
      try await change(context.name("id"), .retry, "has neither failed nor been cancelled")
    }
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
