import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;

/**
 * Runs a script of SQL in a cluster of this process, to its end: {@code RunScript SCRIPT KEY=VALUE...}, with options of Flink's
 * configuration. Prints the milliseconds from the submission of each statement that is a job to the end of it.
 */
final class RunScript {
    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int index = 1; index < arguments.length; index++) {
            String[] option = arguments[index].split("=", 2);
            options.put(option[0], option[1]);
        }
        Configuration configuration = Configuration.fromMap(options);
        EnvironmentSettings settings = EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(configuration).build();
        TableEnvironment tables = TableEnvironment.create(settings);
        // No text within these scripts has a semicolon.
        for (String statement : Files.readString(Path.of(arguments[0])).split(";")) {
            if (statement.isBlank()) {
                continue;
            }
            long begun = System.nanoTime();
            TableResult result = tables.executeSql(statement);
            if (result.getJobClient().isPresent()) {
                result.await();
                System.out.println((System.nanoTime() - begun) / 1_000_000);
            }
        }
    }
}
