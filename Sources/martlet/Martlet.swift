import ArgumentParser
import Core
import Server

@main
struct Martlet: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "martlet",
    abstract: "Features, models, monitoring and training over one set of definitions.",
    discussion: """
      EXAMPLE
        martlet up                                    start the platform of this folder
        martlet apply                                 put martlet.yaml in force
        martlet ingest events events.parquet          feed a file
        martlet train churn                           train a model
        martlet models promote churn 1                make it serve
        martlet predict churn customer_id=42          predict by entity key

      Commands talk to the platform that runs on this data directory; where none runs, they start one for
      themselves and stop it again.
      """,
    version: PlatformVersion.text,
    groupedSubcommands: [
      CommandGroup(
        name: "Definitions",
        subcommands: [
          InitCommand.self, PlanCommand.self, ApplyCommand.self, LineageCommand.self,
        ]),
      CommandGroup(
        name: "Platform",
        subcommands: [
          UpCommand.self, StatusCommand.self, DoctorCommand.self, ConfigCommand.self,
          BackupCommand.self, RestoreCommand.self,
        ]),
      CommandGroup(
        name: "Data",
        subcommands: [
          IngestCommand.self, PushCommand.self, TestTransform.self, QuarantineCommand.self,
          FeaturesCommand.self, BackfillCommand.self, DatasetsCommand.self, SQLCommand.self,
          EraseCommand.self, SimulateCommand.self, ReplayCommand.self,
        ]),
      CommandGroup(
        name: "Models",
        subcommands: [
          TrainCommand.self, ModelsCommand.self, PredictCommand.self, DriftCommand.self,
          JobsCommand.self,
        ]),
    ])

  static func main() async {
    var parsed: (any ParsableCommand.Type)?
    do {
      var command = try parseAsRoot()
      parsed = type(of: command)
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
    } catch let error as PlatformError {
      Terminal.complain(error.description)
      if error.retryable { Terminal.complain("The same command may succeed later.") }
      exit(withError: ExitCode(error.code.mapping.exit))
    } catch let error as ExitCode {
      exit(withError: error)
    } catch {
      let code = exitCode(for: error)
      // ArgumentParser's usage errors carry 64; the contract of this tool is 2.
      if code == .validationFailure {
        // What a command finds wrong itself is not known to be its own.
        let usage = parsed.map { "Error: \(message(for: error))\nUsage: \(usageString(for: $0))" }
        Terminal.complain(usage ?? fullMessage(for: error))
        exit(withError: ExitCode(2))
      }
      exit(withError: error)
    }
  }
}

/// What every command takes.
struct CommonOptions: ParsableArguments {
  @Option(name: .long, help: "Configuration file (default: martlet.config.yaml where it is there).")
  var config: String?

  @Option(
    name: .long,
    help:
      "Address of a running platform, as in http://127.0.0.1:8080 (default: $MARTLET_ADDRESS, else found by the data directory)."
  )
  var server: String?

  @Flag(name: .long, help: "Print the answer as JSON.")
  var json = false
}
