import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** The JDK's HttpClient, as it is: one for each pool. */
final class Jdk {
    public static void main(String[] arguments) throws Exception {
        var context = Common.trusting();
        var version = "1".equals(System.getenv("HTTP"))
                ? HttpClient.Version.HTTP_1_1 : HttpClient.Version.HTTP_2;
        Common.run("HttpClient of JDK " + Runtime.version(), () -> {
            var client = HttpClient.newBuilder().sslContext(context).version(version).build();
            return post -> exchange(client, post);
        });
    }

    private static String exchange(HttpClient client, boolean post) throws Exception {
        String url = post ? Common.POST : Common.GET;
        var request = HttpRequest.newBuilder(URI.create(url));
        if (post) {
            request.POST(HttpRequest.BodyPublishers.ofByteArray(Common.BODY));
        }
        var answer = client.send(request.build(), HttpResponse.BodyHandlers.ofByteArray());
        return Common.judge(post, answer.statusCode(), answer.body());
    }
}
